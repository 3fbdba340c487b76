"""Local copies of benchmarks, in the columns that lm-eval's own YAML expects.

`read_local` is keyed by the data set an lm-eval config names, not by the task, so that
every task over the same data (mmlu_law, mmlu_law_continuation, mmlu_law_generative)
finds the same copy.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from emo_prune.errors import DataMissing, Parameter, TaskError
from emo_prune.files import strict_json
from emo_prune.tasks.harness import LETTERS
from emo_prune.tasks.text_files import open_text, reading

Row = dict[str, Any]
Splits = dict[str, list[Row]]
Columns = type[msgspec.Struct]  # those that lm-eval's task reads of a row

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
        "validation": list(map(_same_ids, _json_rows(validation, _PRO))),
        "test": [_same_ids(row) for path in tests for row in _json_rows(path, _PRO)],
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


class _Choices(msgspec.Struct):
    """Choices of an answer, and what each is called."""

    text: list[str]
    label: list[str]

    def __post_init__(self) -> None:
        if len(self.text) != len(self.label) or len(self.text) < 2:
            raise ValueError("not two or more texts, with as many labels")


class _FiveChoices(_Choices):
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label != list("ABCDE"):
            raise ValueError("not the labels A to E")


def _labelled(row: Any) -> None:
    if row.answerKey not in row.choices.label:
        raise ValueError("answerKey: none of the labels")


def _padded(row: Any) -> None:
    row.answerKey = row.answerKey.lstrip()  # as lm-eval does
    _labelled(row)


def _lettered(row: Any) -> None:
    if row.answer not in list(LETTERS[: len(row.options)]):
        raise ValueError("answer: the letter of none of the options")


def _columns(check: Callable[[Any], None] | None = None, **types: Any) -> Columns:
    """Return columns by their names; `check` raises `ValueError` for a row of them."""
    namespace = {} if check is None else {"__post_init__": check}
    return msgspec.defstruct("Row", list(types.items()), namespace=namespace)


_PRO = _columns(
    _lettered,
    question=str,
    category=str,
    options=Annotated[list[str], msgspec.Meta(min_length=1, max_length=len(LETTERS))],
    answer=str,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Files `folder/stem + split + .jsonl`, and the columns lm-eval's task reads.

    `splits` are those with answers, the one that is scored last.
    """

    folder: str
    columns: Columns
    stem: str = ""
    splits: tuple[str, ...] = ("train", "validation")
    convert: Callable[[Row], Row] = _same


_ALL = ("train", "validation", "test")
_ARC = _columns(_labelled, question=str, choices=_Choices, answerKey=str)

_LAYOUTS: dict[tuple[str, str | None], _Layout] = {
    ("openai/gsm8k", "main"): _Layout(
        folder="gsm8k", splits=_ALL, columns=_columns(question=str, answer=str)
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
        columns=_columns(_padded, question_stem=str, choices=_Choices, answerKey=str),
    ),
    ("Rowan/hellaswag", None): _Layout(
        folder="hellaswag",
        columns=_columns(
            activity_label=str,
            ctx_a=str,
            ctx_b=str,
            endings=Annotated[list[str], msgspec.Meta(min_length=4, max_length=4)],
            label=Literal["0", "1", "2", "3", 0, 1, 2, 3],
        ),
    ),
    ("baber/piqa", None): _Layout(
        folder="piqa",
        columns=_columns(goal=str, sol1=str, sol2=str, label=Literal[0, 1]),
    ),
    ("allenai/winogrande", "winogrande_xl"): _Layout(
        folder="winogrande",
        columns=_columns(
            sentence=Annotated[str, msgspec.Meta(pattern="_")],  # the gap
            option1=str,
            option2=str,
            answer=Literal["1", "2"],
        ),
    ),
    ("tau/commonsense_qa", None): _Layout(
        folder="commonsense_qa",
        columns=_columns(_labelled, question=str, choices=_FiveChoices, answerKey=str),
    ),
    ("allenai/sciq", None): _Layout(
        folder="sciq",
        splits=_ALL,
        columns=_columns(
            support=str,
            question=str,
            correct_answer=str,
            distractor1=str,
            distractor2=str,
            distractor3=str,
        ),
    ),
    ("lighteval/siqa", None): _Layout(
        folder="social_i_qa",
        columns=_columns(
            context=str,
            question=str,
            answerA=str,
            answerB=str,
            answerC=str,
            label=Literal["1", "2", "3", 1, 2, 3],
        ),
    ),
    ("aps/super_glue", "boolq"): _Layout(
        folder="boolq",
        columns=_columns(question=str, passage=str, answer=bool),
        convert=_boolq,
    ),
}


def _existing(path: Path) -> Path | None:
    packed = path.with_name(path.name + ".gz")
    return next(
        (candidate for candidate in (path, packed) if candidate.is_file()), None
    )


def _json_rows(path: Path, columns: Columns) -> list[Row]:
    with reading(path, TaskError), open_text(path) as file:
        return _some(path, list(_objects(file, columns, path)))


def _objects(lines: Iterable[str], columns: Columns, path: Path) -> Iterator[Row]:
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
        yield _checked(row, columns, where)


def _checked(row: Any, columns: Columns, where: str) -> Row:
    """Return a row that has what its columns ask for; others may stand beside them."""
    try:
        msgspec.convert(row, columns)
    except msgspec.ValidationError as problem:
        said = str(problem)
        named = re.search(r"\$\.(\w+)", said) or re.search(
            r"^(\w+):|field `(\w+)`$", said
        )
        column = next(filter(None, named.groups())) if named else None
        raise TaskError(
            "a row is not a JSON object"
            if column is None
            else f"the row's {column!r} cannot be used",
            where=where,
            got=problem,
            expected=", ".join(map(repr, columns.__struct_fields__)),
            hint="write the rows with the columns of the data set on the Hub",
        ) from None
    found: Row = row
    return found


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
