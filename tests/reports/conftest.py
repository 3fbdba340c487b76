from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emo_prune.cli import main
from emo_prune.reports.page import Picture, find_artifacts, page, sections
from tests.cli.conftest import MADE_UP
from tests.tiny_models import save_tiny

Edit = Callable[[str, Callable[[dict[str, Any]], object]], None]
REAL = Path(__file__).resolve().parents[2] / "benchmarks/results/sweep.json"
Edited = Callable[[Callable[[dict[str, Any]], object]], Path]


@pytest.fixture(scope="session")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands wrote: a selection, an export, and two results."""
    work = tmp_path_factory.mktemp("outputs")
    save_tiny(work / "tiny-emo", "emo")
    for name, rows in (("calibration", MADE_UP[::2]), ("questions", MADE_UP[1::2])):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (work / f"{name}.jsonl").write_text(text)
    chosen = ["--examples", "calibration.jsonl", "--keep", "50%", "--save-scores"]
    score = ["--examples", "questions.jsonl"]
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(work):
        patch.setenv("XDG_CACHE_HOME", str(work / ".cache"))
        for arguments in (
            ["select", "-m", "tiny-emo", *chosen],
            ["export", "-m", "tiny-emo"],
            ["eval", *score, "--control", "random", "--max-drop", "3"],
            ["eval", "tiny-emo", *score, "-o",
             "emo-prune-out/calibration/results-tiny-emo.json"],
        ):  # fmt: skip
            assert main(arguments) == 0, arguments
    return work / "emo-prune-out/calibration"


@pytest.fixture
def folder(outputs: Path, tmp_path: Path) -> Path:
    """A copy of the outputs that a test may change."""
    return Path(shutil.copytree(outputs, tmp_path / "calibration"))


@pytest.fixture
def edit(folder: Path) -> Edit:
    """Change the JSON of an artifact in the folder."""

    def change(name: str, how: Callable[[dict[str, Any]], object]) -> None:
        file = folder / name
        value = json.loads(file.read_text())
        how(value)
        file.write_text(json.dumps(value))

    return change


def html_of(path: Path) -> str:
    """Return the page of an artifact or a folder."""
    return page(find_artifacts(path))


@pytest.fixture
def edited(tmp_path: Path) -> Edited:
    """Write the real sweep with a change, and return the file."""

    def write(how: Callable[[dict[str, Any]], object]) -> Path:
        value = json.loads(REAL.read_text())
        how(value)
        file = tmp_path / "sweep.json"
        file.write_text(json.dumps(value))
        return file

    return write


def pictures(path: Path) -> dict[str, Picture]:
    """Return the pictures of a page by name."""
    found = sections(find_artifacts(path))
    return {picture.name: picture for one in found for picture in one.pictures}


def one_size(value: dict[str, Any]) -> None:
    """Leave the subsets of one size of calibration."""
    value["subsets"] = [row for row in value["subsets"] if row["calibration"] == "40"]
