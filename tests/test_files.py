"""What is read means the same to everyone; what is written is whole or not there."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_prune.errors import ExportError
from emo_prune.files import strict_json, strict_toml, write_atomically

LARGEST = 10**100
BAD = {
    "nothing": "",
    "two values": "{} {}",
    "a key twice": '{"a": 1, "a": 1}',
    "a key twice, written in two ways": '{"a": 1, "\\u0061": 1}',
    "no number": '{"a": NaN}',
    "no finite number": "[Infinity]",
    "no finite number, negative": "[-Infinity]",
    "a number beyond floats": "[1e999]",
    "a number too large": f"[{LARGEST + 1}]",
    "a float too large": "[-1e101]",
    "more digits than Python reads": "9" * 5000,
    "half a surrogate pair": '"\\ud83d"',
    "the other half": '["\\uDE00"]',
    "halves the wrong way round": '"\\ude00\\ud83d"',
    "half a pair as a key": '{"\\ud800": 1}',
    "deeper than 64": "[" * 66 + "]" * 66,
    "deep": "[" * 100_000 + "]" * 100_000,
    "unclosed and deep": '{"a":' * 100_000,
    "a byte order mark": "\ufeff{}",
}
GOOD: dict[str, Any] = {
    '{"a": [1, 2.5, true, null, "x"]}': {"a": [1, 2.5, True, None, "x"]},
    '"\\ud83d\\ude00"': "\U0001f600",
    '"\\\\ud83d"': "\\ud83d",
    f"[{LARGEST}, -1e99]": [LARGEST, -1e99],
    "[" * 64 + "1" + "]" * 64: json.loads("[" * 64 + "1" + "]" * 64),
    '"NaN"': "NaN",
}


@pytest.mark.parametrize("what", BAD)
def test_what_readers_could_take_differently_is_refused(what: str) -> None:
    for text in (BAD[what], BAD[what].encode()):
        with pytest.raises(ValueError) as caught:
            strict_json(text)
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", GOOD)
def test_plain_json_is_read(text: str) -> None:
    assert strict_json(text) == strict_json(text.encode()) == GOOD[text]


@pytest.mark.parametrize("text", [b"\xff", b'"\xed\xa0\x80"', b'"\xc0\x80"'])
def test_bytes_that_are_no_utf8_are_refused(text: bytes) -> None:
    for read in (strict_json, strict_toml):
        with pytest.raises(ValueError):
            read(text)


def test_half_a_pair_in_a_text_is_refused() -> None:
    for text in ('"\ud83d"', '"\ud83d\ude00"'):  # Python joins no halves
        with pytest.raises(ValueError):
            strict_json(text)


def by_the_book(text: str | bytes) -> Any:
    """The same, step by step: what was read must be JSON that can be written again."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("twice")
        return dict(pairs)

    def check(value: Any, depth: int) -> None:
        if depth > 64:
            raise ValueError("deep")
        if isinstance(value, dict | list):
            for item in value.values() if isinstance(value, dict) else value:
                check(item, depth + 1)
        elif isinstance(value, int | float) and abs(value) > LARGEST:
            raise ValueError("large")

    plain = text.decode() if isinstance(text, bytes) else text
    value = json.loads(plain, object_pairs_hook=once)
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    check(value, 0)
    return value


STRINGS = st.text(st.characters() | st.sampled_from("\ud800\udfff\\u"), max_size=4)
NUMBERS = st.floats() | st.integers(-LARGEST * 11, LARGEST * 11) | st.integers(-9, 9)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | STRINGS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(STRINGS, inner, max_size=4)
        | st.integers(0, 70).map(lambda depth: _nested(depth))
    ),
    max_leaves=8,
)
MARKS = ["{", "}", "[", "]", ":", ",", '"', '"a"', " ", "\\", "\\u", "d83d", "de00"]
DIGITS = ["1", "-", "e", ".", "9" * 99, "e99", "NaN", "Infinity", "true", "\ud800"]
PIECES = st.sampled_from(MARKS + DIGITS)


def _nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def _changed(text: str, at: int, piece: str) -> str:
    return text[: at % (len(text) + 1)] + piece + text[at % (len(text) + 1) :]


WRITTEN = st.builds(json.dumps, VALUES, ensure_ascii=st.booleans())
TEXTS = (
    WRITTEN
    | st.lists(PIECES, max_size=9).map("".join)
    | st.builds(_changed, WRITTEN, st.integers(0, 10_000), PIECES)
)


@given(TEXTS)
def test_it_reads_what_can_be_written_again_and_nothing_else(text: str) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    for given_text in (text, raw):
        try:
            expected = by_the_book(given_text)
        except (ValueError, RecursionError):
            with pytest.raises(ValueError):
                strict_json(given_text)
        else:
            found = strict_json(given_text)
            assert repr(found) == repr(expected)  # 1, 1.0 and True are equal


@pytest.mark.parametrize(
    "text", ["a = 1\na = 2", "a = inf", "a = 1e101", "a = " + "[" * 5000, "9" * 5000]
)
def test_toml_has_the_same_limits(text: str) -> None:
    with pytest.raises(ValueError):
        strict_toml(text)


def test_toml_may_begin_with_a_byte_order_mark() -> None:
    assert strict_toml(b"\xef\xbb\xbfa = 1") == {"a": 1}


def test_file_has_the_mode_of_any_new_one(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", "text")
    finally:
        os.umask(before)
    mode = (tmp_path / "file").stat().st_mode
    assert stat.S_IMODE(mode) == (0o640 if os.name == "posix" else 0o666)


def test_files_written_at_once_leave_nothing_else(tmp_path: Path) -> None:
    texts = [str(number) * 1000 for number in range(8)]
    threads = [
        threading.Thread(target=write_atomically, args=(tmp_path / "file", text))
        for text in texts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "file").read_text() in texts
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "file").touch()
    for place in ("folder", "file/below", "x" * 300):
        with pytest.raises(ExportError) as caught:
            write_atomically(tmp_path / place, "text")
        assert caught.value.hint
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "file"}
