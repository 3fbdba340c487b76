from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from emo_prune.errors import BadExamples, TaskError
from emo_prune.tasks import (
    CalibrationSet,
    TaskOptions,
    calibration_set,
    evaluation_set,
    parse_task,
)
from tests.evaluation.tiny import byte_tokenizer


def _file(folder: Path, *rows: Any, name: str = "mine.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _read(path: Path, **kwargs: Any) -> CalibrationSet:
    return calibration_set(parse_task(None, path), TaskOptions(), **kwargs)


def test_prompt_and_completion_are_joined_verbatim(tmp_path: Path) -> None:
    path = _file(tmp_path, {"prompt": "2+2=", "completion": "4", "id": 7})
    (example,) = _read(path).examples
    assert (example.context, example.completion) == ("2+2=", "4")


def test_text_is_all_completion(tmp_path: Path) -> None:
    found = _read(_file(tmp_path, {"text": "one"}, {"text": "two"}))
    assert {e.completion for e in found.examples} == {"one", "two"}
    assert {e.context for e in found.examples} == {""}
    assert (found.task, found.split) == ("examples:mine", "file")


def test_plain_text_is_one_example_a_paragraph(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("one\nstill one\n\n \ntwo", encoding="utf-8")
    assert {e.completion for e in _read(path).examples} == {"one\nstill one", "two"}


def test_gzip_is_unpacked(tmp_path: Path) -> None:
    plain = _file(tmp_path, {"text": "one"}, {"text": "two"})
    packed = tmp_path / "mine.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert _read(packed) == _read(plain)


def test_messages_are_rendered_by_the_caller(tmp_path: Path) -> None:
    path = _file(tmp_path, {"messages": [{"role": "user", "content": "hi"}]})
    found = _read(path, render_messages=lambda m: f"<{m[0]['content']}>")
    assert found.examples[0].completion == "<hi>"
    with pytest.raises(BadExamples, match="chat template"):
        _read(path)


def test_choices_calibrate_with_the_right_one(tmp_path: Path) -> None:
    by_index = {"prompt": "Sky?", "choices": [" red", " blue"], "answer": 1}
    by_text = {"prompt": "Grass?", "choices": [" red", " green"], "answer": " green"}
    found = _read(_file(tmp_path, by_index, by_text))
    assert {e.completion for e in found.examples} == {" blue", " green"}


def test_the_same_row_is_the_same_document_in_both_uses(tmp_path: Path) -> None:
    for rows in (
        [{"text": "one"}],
        [{"prompt": "a", "completion": "b"}],
        [{"prompt": "a", "choices": ["b", "c"], "answer": 0}],
    ):
        path = _file(tmp_path, *rows)
        evaluation = evaluation_set(parse_task(None, path), TaskOptions())
        assert evaluation.document_sha256 == _read(path).document_sha256


BAD_ROWS: list[tuple[str, list[Any], str]] = [
    ("not an object", [["text"]], "line 1"),
    ("no known key", [{"txt": "x"}], "line 1"),
    ("both forms", [{"text": "x", "prompt": "y"}], "line 1"),
    ("forms mixed", [{"text": "x"}, {"prompt": "y", "completion": "z"}], "line 2"),
    ("no completion", [{"prompt": "x"}], "line 1"),
    ("wrong type", [{"text": 3}], "line 1"),
    ("empty", [{"text": "x"}, {"text": " "}], "line 2"),
    ("one choice", [{"prompt": "x", "choices": ["a"], "answer": 0}], "line 1"),
    ("no such choice", [{"prompt": "x", "choices": ["a", "b"], "answer": 2}], "line 1"),
    ("answer true", [{"prompt": "x", "choices": ["a", "b"], "answer": True}], "line 1"),
    ("messages not a list", [{"messages": "hi"}], "line 1"),
    ("message without role", [{"messages": [{"content": "hi"}]}], "line 1"),
]


@pytest.mark.parametrize(
    ("rows", "line"), [case[1:] for case in BAD_ROWS], ids=[c[0] for c in BAD_ROWS]
)
def test_bad_rows_are_named_by_file_and_line(
    rows: list[Any], line: str, tmp_path: Path
) -> None:
    with pytest.raises(BadExamples) as caught:
        _read(_file(tmp_path, *rows), render_messages=str)
    assert f"mine.jsonl, {line}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.jsonl", b""),
        ("blank.txt", b"\n\n \n"),
        ("broken.jsonl", b'{"text": "x"\n'),
        ("latin.jsonl", b'{"text": "\xe9"}\n'),
        ("fake.jsonl.gz", b"no gzip"),
        ("half.jsonl", b'{"text": "\\ud800"}\n'),
        ("twice.jsonl", b'{"text": "x", "text": "y"}\n'),
        ("wide.jsonl", '{"text": "x"}\n'.encode("utf-16")),
        ("cut.jsonl.gz", gzip.compress(b'{"text": "one"}\n' * 99)[:-12]),
    ],
)
def test_bad_files_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadExamples) as caught:
        _read(path)
    assert name in str(caught.value)
    assert "expected" in str(caught.value)
    assert caught.value.hint


def test_a_file_that_is_no_gzip_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "plain.jsonl.gz"
    path.write_text('{"text": "one"}')
    with pytest.raises(BadExamples, match=r"plain\.jsonl\.gz.*gzip archive") as caught:
        _read(path)
    assert ".gz" in caught.value.hint


@pytest.mark.parametrize("name", ["mine.jsonl", "mine.txt"])
def test_a_byte_order_mark_is_no_part_of_the_text(name: str, tmp_path: Path) -> None:
    content = '{"text": "one"}\n' if name.endswith("l") else "one\n"
    (tmp_path / name).write_text(content, encoding="utf-8-sig")
    assert [e.completion for e in _read(tmp_path / name).examples] == ["one"]


@pytest.mark.parametrize("rendered", ["", " \n"])
def test_messages_that_render_to_nothing_are_refused(
    rendered: str, tmp_path: Path
) -> None:
    path = _file(tmp_path, {"messages": [{"role": "user", "content": "hi"}]})
    with pytest.raises(BadExamples, match="line 1"):
        _read(path, render_messages=lambda _: rendered)


def test_messages_that_the_template_refuses_are_named(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    path = _file(tmp_path, {"messages": [{"role": "user", "content": "hi"}]})
    with pytest.raises(BadExamples, match=r"line 1.*roles must alternate"):
        _read(
            path,
            render_messages=lambda m: str(
                tokenizer.apply_chat_template(m, tokenize=False)
            ),
        )


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadExamples, match="cannot be read"):
        _read(tmp_path / "none.jsonl")


def test_examples_take_no_demonstrations(tmp_path: Path) -> None:
    task = parse_task(None, _file(tmp_path, {"text": "x"}))
    with pytest.raises(TaskError, match="demonstrations"):
        calibration_set(task, TaskOptions(num_fewshot=1))
