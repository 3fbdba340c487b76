"""A local copy that is damaged is named by file and line, for every benchmark."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from emo_prune.errors import TaskError
from emo_prune.tasks import TaskOptions, calibration_set, evaluation_set, parse_task

CHOICES = {"text": ["red", "blue", "green", "pink", "grey"], "label": list("ABCDE")}
MULTIPLE = {"question": "Sky?", "choices": CHOICES, "answerKey": "B"}

# lm-eval's task: the file it scores, and a row of it
TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "gsm8k": ("gsm8k/test.jsonl", {"question": "1+1?", "answer": "Two. #### 2"}),
    "arc_easy": ("arc/easy_test.jsonl", MULTIPLE),
    "arc_challenge": ("arc/challenge_test.jsonl", MULTIPLE),
    "openbookqa": (
        "openbookqa/test.jsonl",
        {"question_stem": "Sky is", "choices": CHOICES, "answerKey": " B"},
    ),
    "hellaswag": (
        "hellaswag/validation.jsonl",
        {"activity_label": "Run", "ctx_a": "He", "ctx_b": "then", "label": "3"}
        | {"endings": ["a", "b", "c", "d"]},
    ),
    "piqa": (
        "piqa/validation.jsonl",
        {"goal": "Eat", "sol1": "Chew.", "sol2": "Wait.", "label": 0},
    ),
    "winogrande": (
        "winogrande/validation.jsonl",
        {"sentence": "So _ left.", "option1": "A", "option2": "B", "answer": "2"},
    ),
    "commonsense_qa": ("commonsense_qa/validation.jsonl", MULTIPLE),
    "sciq": (
        "sciq/test.jsonl",
        {"support": "", "question": "Who?", "correct_answer": "w"}
        | {"distractor1": "x", "distractor2": "y", "distractor3": "z"},
    ),
    "social_iqa": (
        "social_i_qa/validation.jsonl",
        {"context": "He ran.", "question": "Why?", "label": "3"}
        | {"answerA": "a", "answerB": "b", "answerC": "c"},
    ),
    "boolq": (
        "boolq/validation.jsonl",
        {"question": "is it", "passage": "It is.", "answer": True},
    ),
}


def _write(folder: Path, name: str, *rows: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _score(task: str, data_dir: Path) -> Any:
    options = TaskOptions(data_dir=data_dir, num_fewshot=0)
    return evaluation_set(parse_task(task), options)


def _refused(task: str, data_dir: Path) -> TaskError:
    with pytest.raises(TaskError) as caught:
        _score(task, data_dir)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("task", TASKS)
def test_a_row_with_the_columns_the_task_reads_is_enough(
    task: str, tmp_path: Path
) -> None:
    name, row = TASKS[task]
    _write(tmp_path, name, row, row)
    (part,) = _score(task, tmp_path).tasks
    part.task.build_all_requests()
    assert len(part.document_sha256) == 2


@pytest.mark.parametrize(
    ("task", "column"),
    [(task, column) for task, (_, row) in TASKS.items() for column in row],
)
def test_a_column_that_is_missing_or_of_no_use_is_named(
    task: str, column: str, tmp_path: Path
) -> None:
    name, row = TASKS[task]
    without = {key: value for key, value in row.items() if key != column}
    for bad in (without, row | {column: None}, row | {column: 77}):
        _write(tmp_path, name, row, bad)
        error = _refused(task, tmp_path)
        assert repr(column) in str(error.what)
        assert str(error.where).endswith(f"{name}, line 2")


@pytest.mark.parametrize(
    "choices",
    [
        {"text": ["a", "b"], "label": ["A"]},
        {"text": ["a"]},
        {"text": [], "label": []},
        ["a", "b"],
    ],
)
def test_choices_that_do_not_match_their_labels_are_named(
    choices: Any, tmp_path: Path
) -> None:
    _write(tmp_path, "arc/easy_test.jsonl", MULTIPLE | {"choices": choices})
    assert "'choices'" in str(_refused("arc_easy", tmp_path).what)


def test_labels_other_than_the_tasks_own_are_named(tmp_path: Path) -> None:
    numbered = {"choices": CHOICES | {"label": list("12345")}, "answerKey": "2"}
    _write(tmp_path, "commonsense_qa/validation.jsonl", MULTIPLE | numbered)
    assert "'choices'" in str(_refused("commonsense_qa", tmp_path).what)


@pytest.mark.parametrize(
    "line", ["3", "null", "[]", '"x"', "{", '{"question": "\\ud8"}']
)
def test_a_line_that_is_no_row_is_named(line: str, tmp_path: Path) -> None:
    path = _write(tmp_path, "gsm8k/test.jsonl")
    path.write_text(f'{{"question": "1?", "answer": "1"}}\n{line}\n', encoding="utf-8")
    assert str(_refused("gsm8k", tmp_path).where).endswith("test.jsonl, line 2")


def test_half_a_surrogate_pair_is_named(tmp_path: Path) -> None:
    _write(tmp_path, "gsm8k/test.jsonl", {"question": "\ud800", "answer": "1"})
    assert str(_refused("gsm8k", tmp_path).where).endswith("test.jsonl, line 1")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("test.jsonl", b""),
        ("test.jsonl", b"\n\n"),
        ("test.jsonl", b'{"question": "\xe9", "answer": "1"}\n'),
        ("test.jsonl.gz", b"no gzip"),
        ("test.jsonl.gz", gzip.compress(b'{"question": "1"}' * 99)[:-12]),
    ],
)
def test_a_file_that_holds_no_rows_is_named(
    name: str, content: bytes, tmp_path: Path
) -> None:
    _write(tmp_path, f"gsm8k/{name}").write_bytes(content)
    assert str(_refused("gsm8k", tmp_path).where).endswith(name)


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    row = json.dumps({"question": "1?", "answer": "1"})
    _write(tmp_path, "gsm8k/test.jsonl").write_text(row, encoding="utf-8-sig")
    assert len(_score("gsm8k", tmp_path).document_sha256) == 1


def test_a_column_of_several_types_is_refused(tmp_path: Path) -> None:
    row = {"question": "1?", "answer": "1"}
    _write(tmp_path, "gsm8k/test.jsonl", row | {"id": 1}, row | {"id": "one"})
    assert "gsm8k" in str(_refused("gsm8k", tmp_path).where)


def _mmlu(folder: Path) -> Path:
    for short in ("dev", "val", "test"):
        path = folder / "mmlu" / short / f"electrical_engineering_{short}.csv"
        path.parent.mkdir(parents=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([[f"{short}?", "w", "x", "y", "z", "B"]] * 2)
    return path


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"caf\xe9?,a,b,c,d,A\n", "_test.csv"),
        (b"q?,a,b,c,d,A\nq?,a,b,c,A\n", "_test.csv, row 2"),
        (b"q?,a,b,c,d,E\n", "_test.csv, row 1"),
        (b'"' + b"x" * 200_000 + b'",a,b,c,d,A\n', "_test.csv"),
        (b"", "_test.csv"),
    ],
    ids=["latin-1", "cells", "letter", "huge", "empty"],
)
def test_a_bad_file_of_mmlu_is_named(
    content: bytes, where: str, tmp_path: Path
) -> None:
    _mmlu(tmp_path).write_bytes(content)
    assert str(_refused("engineering", tmp_path).where).endswith(where)


def test_mmlu_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = _mmlu(tmp_path)
    plain = _score("engineering", tmp_path).document_sha256
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert _score("engineering", tmp_path).document_sha256 == plain


PRO: dict[str, Any] = {
    "question": "Sky?",
    "options": ["red", "blue"],
    "answer": "B",
    "category": "law",
}


@pytest.mark.parametrize(
    ("column", "value"),
    [("options", []), ("options", ["x"] * 11), ("answer", "C"), ("answer", ""),
     ("category", 3), ("question", None)],
)  # fmt: skip
def test_a_bad_row_of_mmlu_pro_is_named(
    column: str, value: Any, tmp_path: Path
) -> None:
    _write(tmp_path, "mmlu_pro/validation.jsonl", PRO)
    _write(tmp_path, "mmlu_pro/test/law.jsonl", PRO, PRO | {column: value})
    error = _refused("mmlu-pro:law", tmp_path)
    assert repr(column) in str(error.what)
    assert str(error.where).endswith("law.jsonl, line 2")


def test_a_category_without_questions_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, "mmlu_pro/validation.jsonl", PRO)
    _write(tmp_path, "mmlu_pro/test/law.jsonl", PRO)
    assert "nothing to score" in str(_refused("mmlu-pro:math", tmp_path).what)


def test_calibrating_on_what_is_scored_alone_is_refused(tmp_path: Path) -> None:
    row = {"question": "1?", "answer": "1"}
    for split in ("train", "test"):
        _write(tmp_path, f"gsm8k/{split}.jsonl", row)
    with pytest.raises(TaskError, match="no document is left") as caught:
        calibration_set(
            parse_task("gsm8k"), TaskOptions(data_dir=tmp_path, num_fewshot=0)
        )
    assert caught.value.hint


def test_every_local_copy_is_read_whole(data_dir: Path) -> None:
    for task in TASKS:
        assert _score(task, data_dir).document_sha256
