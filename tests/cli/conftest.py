from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emo_prune.cli import main
from tests.evaluation.tiny import byte_tokenizer
from tests.tiny_emoe import dense_model
from tests.tiny_models import save_tiny

MADE_UP = [
    {
        "prompt": f"Question: which letter follows {a}?\nAnswer:",
        "completion": f" {b}",
        "choices": [f" {b}", " z", " q"],
        "answer": 0,
    }
    for a, b in zip("abcdefghijklmnop", "bcdefghijklmnopq", strict=True)
]
TEXTS = ("the seventh boat sank", "all rivers bend north", "count the kettles twice")


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Outcome]
Files = tuple[Path, Path]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(workplace: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run emo-prune in an empty folder, in this process."""

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def emo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny EMO checkpoint with a tokenizer: 8 experts, one shared, top-3."""
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny-emo", "emo")


@pytest.fixture(scope="session")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny llama with a tokenizer: three layers of 64 neurons."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    dense_model("llama").save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def example_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Examples to calibrate on, and others to score."""
    folder = tmp_path_factory.mktemp("examples")
    files = (folder / "calibration.jsonl", folder / "questions.jsonl")
    for file, rows in zip(files, (MADE_UP[::2], MADE_UP[1::2]), strict=True):
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return files


@pytest.fixture
def exported(run: Run, emo: Path, example_files: tuple[Path, Path]) -> Path:
    """An export in the working folder, made by the commands."""
    made = run("select", "-m", emo, "--examples", example_files[0], "-k", "50%")
    assert made.code == 0, made.err
    made = run("export", "--model", emo)
    assert made.code == 0, made.err
    return Path("emo-prune-out/calibration/checkpoint")


@pytest.fixture
def texts(workplace: Path) -> Path:
    """Examples of two files: `texts.jsonl`, and `other.jsonl`, which differ."""
    for name, suffix in (("texts", ""), ("other", " or do not; 1 2 3 5 8 13")):
        rows = [json.dumps({"text": text + suffix}) + "\n" for text in TEXTS]
        (workplace / f"{name}.jsonl").write_text("".join(rows))
    return workplace / "texts.jsonl"


def own(files: Files) -> tuple[object, ...]:
    """Files of a task, as options of a sweep."""
    return ("--examples", files[0], "--test", files[1])


@pytest.fixture
def two_tasks(workplace: Path) -> tuple[object, ...]:
    """Files of two tasks, as options of a sweep."""
    options: list[object] = []
    for name, part in (("first", MADE_UP[:8]), ("second", MADE_UP[8:])):
        files = (workplace / f"{name}-calibration.jsonl", workplace / f"{name}.jsonl")
        for file, chosen in zip(files, (part[::2], part[1::2]), strict=True):
            file.write_text("".join(json.dumps(row) + "\n" for row in chosen))
        options += own(files)
    return tuple(options)
