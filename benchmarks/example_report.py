"""Make docs/example-report.html, and its pictures, of the quickstart's checkpoint.

    python benchmarks/example_report.py

The model that ships with the package is swept over its ten worlds, with the twin that
was trained without pools beside it; one world's experts are also chosen, exported and
scored by themselves. Everything is done by the commands, from files of questions. The
sweep goes to benchmarks/results/sweep.json. The pictures take a Chromium.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from PIL import Image

from benchmarks.command_line import emo_prune, note
from benchmarks.measurement import BenchmarkError
from benchmarks.worlds import (
    WORLDS,
    Split,
    checkpoint,
    count_questions,
    questions,
    write_questions,
)
from tests.reports.browser import Tab, browser

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
WORLD = "units"  # the one that loses most
CALIBRATION = (1, 5, 40)  # questions
_GATE_FAILED = 3
_COLOURS = 128


def main() -> None:
    """Sweep, prune, report, take pictures."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "worlds"
        work.mkdir()
        write_inputs(Path(folder))
        sweep(work)
        prune(work)
        page = ROOT / "docs" / "example-report.html"
        emo(work, "report", ".", "-o", page, "--force", "--questions",
            Path(folder) / f"{WORLD}.jsonl")  # fmt: skip
        shutil.copy(work / "sweep.json", ROOT / "benchmarks" / "results" / "sweep.json")
        with browser(Path(folder) / "profile") as tab:
            picture(tab, page, "report", width=1000, height=1325)
            picture(tab, page, "report-phone", width=390, height=1330, dark=True)


def write_inputs(folder: Path) -> None:
    """Write both models, and each world's questions to choose by and to score."""
    for variant in ("emo", "standard"):
        shutil.copytree(checkpoint(variant), folder / f"worlds-{variant}")
    for world in WORLDS:
        write_split(folder / f"{world}.jsonl", world, "test")
        write_split(calibration(folder, world), world, "validation")


def write_split(file: Path, world: str, split: Split) -> None:
    """Write all questions of a world's split."""
    asked = questions(world, split, count_questions(world, split), seed=0)
    write_questions(file, asked)


def calibration(folder: Path, world: str) -> Path:
    """Return the file of a world's questions to choose experts by."""
    return folder / f"{world}-calibration.jsonl"


def sweep(work: Path) -> None:
    """Sweep over worlds, budgets, scores and sizes of calibration."""
    tasks: list[object] = []
    for world in WORLDS:
        tasks += ["--examples", calibration(work.parent, world)]
        tasks += ["--test", work.parent / f"{world}.jsonl"]
    over = ["--keep", "50%,25%,12.5%", "--scores", "frequency,probability,random"]
    sizes = ",".join(map(str, CALIBRATION))
    emo(
        work, "sweep", "-m", "../worlds-emo", *tasks, *over, "--calibration", sizes,
        "--also", "../worlds-standard", "--dtype", "float32", "--batch-size", 64,
        "-o", ".",
    )  # fmt: skip


def prune(work: Path) -> None:
    """Choose, export and score one world's experts, with a gate that may fail."""
    model, place = "../worlds-emo", work / WORLD
    test = work.parent / f"{WORLD}.jsonl"
    emo(
        work, "select", "-m", model, "--examples", calibration(work.parent, WORLD),
        "--keep", "12.5%", "--num-examples", CALIBRATION[-1], "--save-scores",
        "-o", place,
    )  # fmt: skip
    export = place / "checkpoint"
    emo(work, "export", "-m", model, "--selection", place / "selection.json",
        "-o", export)  # fmt: skip
    emo(
        work, "eval", export, "--examples", test, "--baseline", model, "--max-drop", 3,
        "--dtype", "float32", "--batch-size", 64, "--samples", place / "flips.jsonl",
        "-o", place, may_fail=True,
    )  # fmt: skip


def emo(work: Path, *arguments: object, may_fail: bool = False) -> None:
    """Run a command; a gate that fails is no error if it may.

    Raises:
        BenchmarkError: it ended otherwise.
    """
    note(f"emo-prune {arguments[0]}")
    command = [emo_prune(), *map(str, arguments)]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True)
    if done.returncode not in ((0, _GATE_FAILED) if may_fail else (0,)):
        raise BenchmarkError(f"{arguments[0]} failed: {done.stderr}")


def picture(
    tab: Tab, page: Path, name: str, *, width: int, height: int, dark: bool = False
) -> None:
    """Write what a browser shows of the page's first section, in few colours."""
    tab.open(page, width=width, dark=dark)
    file = IMAGES / f"{name}.png"
    top = tab.run("document.querySelector('section').offsetTop")
    tab.screenshot(file, top=top, height=height)
    with Image.open(file) as shot:
        shot.convert("RGB").quantize(_COLOURS).save(file, optimize=True)


if __name__ == "__main__":
    main()
