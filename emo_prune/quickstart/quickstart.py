"""The whole road on the small EMO model that comes with the package.

Two worlds, a subset of the experts for each, and four models to answer each world's
questions: the full one, the world's subset, the other world's, and a random one.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from emo_prune.errors import OutputExists
from emo_prune.evaluation.evaluate import EvaluateRequest, evaluate_tasks
from emo_prune.progress import Progress
from emo_prune.tasks import parse_task
from emo_prune.worlds import checkpoint, count_questions, questions, write_questions

WORLDS = ("cooking", "sql")
KEEP = "12.5%"
_CALIBRATION = 40  # questions, of the validation split


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickstartFiles:
    """What the walk begins with: a model, and a world's questions, in a new folder."""

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

    def subset(self, name: str) -> Path:
        """The folder for the selection and the export of a world, or of "random"."""
        return self.folder / name


def make_quickstart(folder: Path) -> QuickstartFiles:
    """Make the folder, with the model and the questions in it.

    Raises:
        OutputExists: the folder is there already.
    """
    if folder.exists():
        raise OutputExists(
            "the folder exists already",
            where=folder,
            hint="remove it, or choose another with -o",
        )
    files = QuickstartFiles(folder=folder)
    folder.mkdir(parents=True)
    shutil.copytree(checkpoint("emo"), files.model)
    for world in WORLDS:
        some = questions(world, "validation", _CALIBRATION, seed=0)
        write_questions(files.calibration(world), some)
        every = questions(world, "test", count_questions(world, "test"), seed=0)
        write_questions(files.test(world), every)
    return files


def measure_quickstart(
    files: QuickstartFiles, progress: Progress
) -> dict[str, dict[str, float]]:
    """Return, for each world, the accuracy of each of the four models in per cent."""
    cells = [
        (world, name, model)
        for world, other in zip(WORLDS, reversed(WORLDS), strict=True)
        for name, model in (
            ("full", files.model),
            ("subset", files.subset(world) / "checkpoint"),
            ("other", files.subset(other) / "checkpoint"),
            ("random", files.subset("random") / "checkpoint"),
        )
    ]
    requests = [
        EvaluateRequest(
            model=str(model),
            task=parse_task(None, files.test(world)),
            dtype="float32",
            batch_size=64,
        )
        for world, _, model in cells
    ]
    found: dict[str, dict[str, float]] = {world: {} for world in WORLDS}
    for (world, name, _), (results, _) in zip(
        cells, evaluate_tasks(requests, progress), strict=True
    ):
        found[world][name] = round(100 * results.value, 2)
    return found
