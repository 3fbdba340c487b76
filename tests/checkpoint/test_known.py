"""The note of where a checkpoint is helps where it can, and never gets in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from emo_prune.checkpoint import locate, remember


@pytest.fixture
def note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "emo-prune" / "checkpoints.json"


def test_folders_are_absolute_and_ids_are_not(
    note: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("model").mkdir()
    assert locate("a") is None
    remember("a", "model")
    remember("b", "org/name")
    assert locate("a") == str(tmp_path / "model")
    assert locate("b") == "org/name"


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"{", b"[]", b"\xff", b'{"a": 3}', b"[" * 100_000),
        *(b'{"a": ' + b"9" * digits + b"}" for digits in (400, 5000)),
        *(b'{"a": "\\ud800"}', b'{"a": "x", "a": "y"}'),
    ],
)
def test_damaged_note_is_forgotten(note: Path, text: bytes) -> None:
    note.parent.mkdir(parents=True)
    note.write_bytes(text)
    assert locate("a") is None
    remember("a", "org/name")
    assert locate("a") == "org/name"


def test_note_that_cannot_be_written_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    remember("a", "org/name")
    assert locate("a") is None
