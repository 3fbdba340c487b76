"""Local copies of benchmarks, in the columns that lm-eval's own YAML expects.

`read_local` is keyed by the data set an lm-eval config names, not by the task, so that
every task over the same data (mmlu_law, mmlu_law_continuation, mmlu_law_generative)
finds the same copy.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from emo_prune.errors import DataMissing, Parameter, TaskError
from emo_prune.files import strict_json
from emo_prune.tasks.harness import LETTERS
from emo_prune.tasks.rows import (
    Column,
    Row,
    checked,
    labelled_choices,
    one_of,
    open_text,
    reading,
    text_list,
    texts,
)

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
        TaskError: a file is there and cannot be read as rows, or a row lacks what
            lm-eval's task reads; names file and line.
    """
    if dataset == "cais/mmlu" and name is not None:
        return _mmlu(data_dir / "mmlu", name)
    if dataset == "TIGER-Lab/MMLU-Pro":
        return _mmlu_pro(data_dir / "mmlu_pro")
    layout = _LAYOUTS.get((dataset, name))
    if layout is None:
        return None
    folder = data_dir / layout.folder
    found = {
        split: [layout.convert(row) for row in _json_rows(path, layout.columns)]
        for split in layout.splits
        if (path := _existing(folder / f"{layout.stem}{split}.jsonl")) is not None
    }
    if not found:
        raise _missing(folder / f"{layout.stem}{layout.splits[-1]}.jsonl")
    return found


def _mmlu(folder: Path, subject: str) -> Splits:
    files = {"dev": "dev", "validation": "val", "test": "test"}
    return {
        split: _csv_rows(folder / short / f"{subject}_{short}.csv", subject)
        for split, short in files.items()
    }


def _csv_rows(path: Path, subject: str) -> list[Row]:
    if not path.is_file():
        raise _missing(path)
    with reading(path, TaskError), open_text(path, newline="") as file:
        return _some(path, list(_questions(csv.reader(file), path, subject)))


def _questions(rows: Iterable[list[str]], path: Path, subject: str) -> Iterator[Row]:
    for number, cells in enumerate(rows, start=1):
        if len(cells) != _COLUMNS or cells[-1] not in {"A", "B", "C", "D"}:
            raise TaskError(
                "a row of MMLU is malformed",
                where=f"{path}, row {number}",
                got=f"{len(cells)} cells ending in {cells[-1:]}",
                expected="question, A, B, C, D, answer letter",
                hint="download the file again, or correct the row",
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
        "validation": list(map(_same_ids, _json_rows(validation, _PRO_COLUMNS))),
        "test": [
            _same_ids(row) for path in tests for row in _json_rows(path, _PRO_COLUMNS)
        ],
    }


def _same_ids(row: Row) -> Row:
    # Hub ids are numbers, those of local validation rows are not: all are text
    return {**row, "question_id": str(row.get("question_id", ""))}


def _same(row: Row) -> Row:
    return row


def _boolq(row: Row) -> Row:
    return {
        "question": row["question"],
        "passage": row["passage"],
        "label": int(row["answer"]),
    }


_PRO_COLUMNS = (
    *texts("question", "category"),
    text_list("options", 1, len(LETTERS)),
    Column(
        name="answer",
        expected="the letter of one of the options",
        fits=lambda row: row["answer"] in list(LETTERS[: len(row["options"])]),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Files `folder/stem + split + .jsonl`, and the columns lm-eval's task reads.

    `splits` are those with answers, the one that is scored last.
    """

    folder: str
    columns: tuple[Column, ...]
    stem: str = ""
    splits: tuple[str, ...] = ("train", "validation")
    convert: Callable[[Row], Row] = _same


_ALL = ("train", "validation", "test")
_ARC = (*texts("question"), *labelled_choices("choices", "answerKey"))

_LAYOUTS: dict[tuple[str, str | None], _Layout] = {
    ("openai/gsm8k", "main"): _Layout(
        folder="gsm8k", splits=_ALL, columns=texts("question", "answer")
    ),
    ("allenai/ai2_arc", "ARC-Easy"): _Layout(
        folder="arc", stem="easy_", splits=_ALL, columns=_ARC
    ),
    ("allenai/ai2_arc", "ARC-Challenge"): _Layout(
        folder="arc", stem="challenge_", splits=_ALL, columns=_ARC
    ),
    ("allenai/openbookqa", "main"): _Layout(
        folder="openbookqa",
        splits=_ALL,
        columns=(
            *texts("question_stem"),
            *labelled_choices("choices", "answerKey", padded=True),
        ),
    ),
    ("Rowan/hellaswag", None): _Layout(
        folder="hellaswag",
        columns=(
            *texts("activity_label", "ctx_a", "ctx_b"),
            text_list("endings", 4, 4),
            one_of("label", *"0123", *range(4)),
        ),
    ),
    ("baber/piqa", None): _Layout(
        folder="piqa", columns=(*texts("goal", "sol1", "sol2"), one_of("label", 0, 1))
    ),
    ("allenai/winogrande", "winogrande_xl"): _Layout(
        folder="winogrande",
        columns=(
            Column(
                name="sentence",
                expected="a text with a gap, _",
                fits=lambda row: (
                    isinstance(row["sentence"], str) and "_" in row["sentence"]
                ),
            ),
            *texts("option1", "option2"),
            one_of("answer", "1", "2"),
        ),
    ),
    ("tau/commonsense_qa", None): _Layout(
        folder="commonsense_qa",
        columns=(
            *texts("question"),
            *labelled_choices("choices", "answerKey", labels="ABCDE"),
        ),
    ),
    ("allenai/sciq", None): _Layout(
        folder="sciq",
        splits=_ALL,
        columns=texts(
            *("support", "question", "correct_answer"),
            *("distractor1", "distractor2", "distractor3"),
        ),
    ),
    ("lighteval/siqa", None): _Layout(
        folder="social_i_qa",
        columns=(
            *texts("context", "question", "answerA", "answerB", "answerC"),
            one_of("label", *"123", 1, 2, 3),
        ),
    ),
    ("aps/super_glue", "boolq"): _Layout(
        folder="boolq",
        columns=(*texts("question", "passage"), one_of("answer", True, False)),
        convert=_boolq,
    ),
}


def _existing(path: Path) -> Path | None:
    packed = path.with_name(path.name + ".gz")
    return next(
        (candidate for candidate in (path, packed) if candidate.is_file()), None
    )


def _json_rows(path: Path, columns: tuple[Column, ...]) -> list[Row]:
    with reading(path, TaskError), open_text(path) as file:
        return _some(path, list(_objects(file, columns, path)))


def _objects(
    lines: Iterable[str], columns: tuple[Column, ...], path: Path
) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            row = strict_json(line)
        except ValueError as error:
            raise TaskError(
                "a row is not JSON",
                where=where,
                got=str(error),
                expected="one JSON object a line",
                hint="download the file again, or correct the row",
            ) from None
        yield checked(row, columns, where)


def _some(path: Path, rows: list[Row]) -> list[Row]:
    if not rows:
        raise TaskError(
            "the file holds no rows",
            where=path,
            expected="at least one",
            hint=(
                *("download the file again, or leave out ", Parameter("data_dir")),
                " to use the Hub",
            ),
        )
    return rows


def _missing(path: Path) -> DataMissing:
    return DataMissing(
        "the local copy of the data is not there",
        where=path,
        hint=(
            *("point ", Parameter("data_dir"), " (or EMO_PRUNE_DATA_DIR) at the "),
            "folder that holds it, or leave it out to fetch the data from the Hub",
        ),
    )
