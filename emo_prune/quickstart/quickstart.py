"""A subset of the experts for each of two worlds, and what the models know of both.

Four models answer each world's questions: the full one, the world's subset, the other
world's, and a random one.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import RenderableType

from emo_prune.errors import OutputExists, Parameter
from emo_prune.evaluation import evaluate
from emo_prune.progress import Progress
from emo_prune.reports.terminal import new_table

WORLDS = ("cooking", "sql")
KEEP = "12.5%"
RANDOM = "random"
DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickstartFiles:
    """What it begins with, a model and questions, and where subsets go: one folder."""

    folder: Path

    @property
    def model(self) -> Path:
        """The full model."""
        return self.folder / "worlds-emo"

    def calibration(self, world: str) -> Path:
        """Questions with their answers, to choose experts by."""
        return self.folder / f"{world}-calibration.jsonl"

    def test(self, world: str) -> Path:
        """Other questions, to score."""
        return self.folder / f"{world}-test.jsonl"

    def checkpoint(self, name: str) -> Path:
        """The exported subset of a world, or of `RANDOM`."""
        return self.folder / name / "checkpoint"

    def commands(self, name: str) -> list[list[str]]:
        """Return the arguments of the commands that make and verify that subset."""
        output, model = str(self.folder / name), str(self.model)
        checkpoint = str(self.checkpoint(name))
        examples = str(self.calibration(WORLDS[0] if name == RANDOM else name))
        score = ["--score", "random"] if name == RANDOM else []
        return [
            ["select", "--model", model, "--examples", examples, *score,
             "--keep", KEEP, "-o", output],
            ["export", "--selection", str(self.folder / name / "selection.json"),
             "--model", model, "-o", checkpoint],
            ["verify", checkpoint, "--source", model],
        ]  # fmt: skip


def make_quickstart(folder: Path) -> QuickstartFiles:
    """Make the folder, with the model and the questions in it.

    Raises:
        OutputExists: the folder is there already.
    """
    if folder.exists():
        raise OutputExists(
            "the folder exists already",
            where=folder,
            hint=("remove it, or choose another ", Parameter("output")),
        )
    ours, files = QuickstartFiles(folder=DATA), QuickstartFiles(folder=folder)
    folder.mkdir(parents=True)
    shutil.copytree(ours.model, files.model)
    for world in WORLDS:
        shutil.copyfile(ours.calibration(world), files.calibration(world))
        shutil.copyfile(ours.test(world), files.test(world))
    return files


def measure_quickstart(
    files: QuickstartFiles, progress: Progress
) -> dict[str, dict[str, float]]:
    """Return, for each world, the accuracy of each of the four models in per cent."""
    found: dict[str, dict[str, float]] = {world: {} for world in WORLDS}
    for world, other in zip(WORLDS, reversed(WORLDS), strict=True):
        for name, model in (
            ("full", files.model),
            ("subset", files.checkpoint(world)),
            ("other", files.checkpoint(other)),
            ("random", files.checkpoint(RANDOM)),
        ):
            scored = evaluate(
                model,
                examples=files.test(world),
                dtype="float32",
                batch_size=64,
                progress=progress,
            )
            found[world][name] = round(100 * scored.results.value, 2)
    return found


def quickstart_table(found: Mapping[str, Mapping[str, float]]) -> RenderableType:
    """Return what `measure_quickstart` found as a table."""
    table = new_table(
        f"Accuracy on held-out questions, {KEEP} of the experts kept (chance: 25 %)",
        "questions about",
        "full model",
        "its own experts",
        "the other world's",
        "random experts",
    )
    for world, models in found.items():
        cells = (models[name] for name in ("full", "subset", "other", "random"))
        table.add_row(world, *(f"{cell:.1f}" for cell in cells))
    return table
