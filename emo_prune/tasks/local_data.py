"""Local copies of benchmarks, in the columns that lm-eval's own YAML expects.

`read_local` is keyed by the data set an lm-eval config names, not by the task, so that
every task over the same data (mmlu_law, mmlu_law_continuation, mmlu_law_generative)
finds the same copy.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from emo_prune.errors import DataMissing, TaskError

Row = dict[str, Any]
Splits = dict[str, list[Row]]

_COLUMNS = 6  # question, A, B, C, D, answer letter


def read_local(data_dir: Path, dataset: str, name: str | None) -> Splits | None:
    """Return a data set's splits from a local copy; None if its layout is not known.

    Args:
        data_dir: the folder that holds `mmlu/`, `arc/`, `gsm8k/` and so on.
        dataset: the Hub name an lm-eval config gives as `dataset_path`.
        name: its `dataset_name`, the subset.

    Raises:
        DataMissing: the layout is known, and none of its files is there.
        TaskError: a file is there and cannot be read as rows.
    """
    if dataset == "cais/mmlu" and name is not None:
        return _mmlu(data_dir / "mmlu", name)
    if dataset == "TIGER-Lab/MMLU-Pro":
        return _mmlu_pro(data_dir / "mmlu_pro")
    layout = _LAYOUTS.get((dataset, name))
    if layout is None:
        return None
    folder, stems, convert = layout
    found = {
        split: [convert(row) for row in _json_lines(path)]
        for split in ("train", "validation", "test")
        if (path := _existing(data_dir / folder / f"{stems}{split}.jsonl")) is not None
    }
    if not found:
        raise _missing(data_dir / folder / f"{stems}test.jsonl")
    return found


def _mmlu(folder: Path, subject: str) -> Splits:
    files = {"dev": "dev", "validation": "val", "test": "test"}
    return {
        split: list(_csv_rows(folder / short / f"{subject}_{short}.csv", subject))
        for split, short in files.items()
    }


def _csv_rows(path: Path, subject: str) -> Iterator[Row]:
    if not path.is_file():
        raise _missing(path)
    with path.open(encoding="utf-8", newline="") as file:
        for number, cells in enumerate(csv.reader(file), start=1):
            if len(cells) != _COLUMNS or cells[-1] not in {"A", "B", "C", "D"}:
                raise TaskError(
                    "a row of MMLU is malformed",
                    where=f"{path}, row {number}",
                    got=f"{len(cells)} cells ending in {cells[-1:]}",
                    expected="question, A, B, C, D, answer letter",
                )
            yield {
                "question": cells[0],
                "subject": subject,
                "choices": cells[1:5],
                "answer": "ABCD".index(cells[5]),
            }


def _mmlu_pro(folder: Path) -> Splits:
    tests = sorted((folder / "test").glob("*.jsonl"))
    validation = folder / "validation.jsonl"
    if not tests or not validation.is_file():
        raise _missing(validation if tests else folder / "test" / "*.jsonl")
    return {
        "validation": list(_json_lines(validation)),
        # Hub ids are numbers, those of local validation rows are not: all are text
        "test": [
            {**row, "question_id": str(row.get("question_id", ""))}
            for path in tests
            for row in _json_lines(path)
        ],
    }


def _same(row: Row) -> Row:
    return row


def _boolq(row: Row) -> Row:
    return {
        "question": row["question"],
        "passage": row["passage"],
        "label": int(row["answer"]),
    }


_LAYOUTS: dict[tuple[str, str | None], tuple[str, str, Callable[[Row], Row]]] = {
    ("openai/gsm8k", "main"): ("gsm8k", "", _same),
    ("allenai/ai2_arc", "ARC-Easy"): ("arc", "easy_", _same),
    ("allenai/ai2_arc", "ARC-Challenge"): ("arc", "challenge_", _same),
    ("allenai/openbookqa", "main"): ("openbookqa", "", _same),
    ("Rowan/hellaswag", None): ("hellaswag", "", _same),
    ("baber/piqa", None): ("piqa", "", _same),
    ("allenai/winogrande", "winogrande_xl"): ("winogrande", "", _same),
    ("tau/commonsense_qa", None): ("commonsense_qa", "", _same),
    ("allenai/sciq", None): ("sciq", "", _same),
    ("lighteval/siqa", None): ("social_i_qa", "", _same),
    ("aps/super_glue", "boolq"): ("boolq", "", _boolq),
}


def _existing(path: Path) -> Path | None:
    packed = path.with_name(path.name + ".gz")
    return next(
        (candidate for candidate in (path, packed) if candidate.is_file()), None
    )


def _json_lines(path: Path) -> Iterator[Row]:
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise TaskError(
                    "a row is not JSON", where=f"{path}, line {number}", got=error.msg
                ) from error


def open_text(path: Path) -> IO[str]:
    """Open a text file, gzip-compressed if its name ends in .gz."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _missing(path: Path) -> DataMissing:
    return DataMissing(
        "the local copy of the data is not there",
        where=path,
        hint="point --data-dir (or EMO_PRUNE_DATA_DIR) at the folder that holds it, "
        "or leave it out to fetch the data from the Hub",
    )
