"""The tasks of a sweep: each with what it calibrates on and what it scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from emo_prune.errors import SettingsError
from emo_prune.tasks import MMLU_CATEGORIES, MMLU_PRO_CATEGORIES, Task, parse_task


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepTask:
    """One column of a sweep; for a benchmark both sides are the same task."""

    calibration: Task
    scored: Task

    @property
    def name(self) -> str:
        """What results call it."""
        return self.scored.name

    @property
    def slug(self) -> str:
        """Its folder, and its column's heading."""
        return self.scored.slug

    @property
    def files(self) -> dict[str, Path]:
        """The files of examples it takes, by what they are for."""
        found = {"calibration": self.calibration.examples, "test": self.scored.examples}
        return {use: path for use, path in found.items() if path is not None}


def sweep_tasks(
    names: str | None, examples: Sequence[Path] = (), tests: Sequence[Path] = ()
) -> tuple[SweepTask, ...]:
    """Return the tasks that names (divided by commas) and pairs of files stand for.

    `mmlu` and `mmlu-pro` stand for their categories. The first file to calibrate on
    goes with the first to score, and so on; the latter gives the task its name.

    Raises:
        SettingsError: there is no task, a file has no partner, or two tasks would have
            the same name.
        UnknownTask: a name is none of a task.
    """
    if len(examples) != len(tests):
        raise SettingsError(
            "each file to calibrate on needs one to score",
            where="--examples and --test",
            got=f"{len(examples)} and {len(tests)} files",
            hint="give --examples CALIBRATION.jsonl --test TEST.jsonl, pair by pair",
        )
    found = [SweepTask(calibration=task, scored=task) for task in _named(names or "")]
    found += [
        SweepTask(calibration=parse_task(None, file), scored=parse_task(None, test))
        for file, test in zip(examples, tests, strict=True)
    ]
    if not found:
        raise SettingsError(
            "there is no task to sweep over",
            expected="--tasks, or --examples and --test",
            hint="try --tasks mmlu",
        )
    counts = Counter(task.slug for task in found)
    slug, count = counts.most_common(1)[0]
    if count > 1:
        raise SettingsError(
            "two tasks of the sweep have the same name",
            where="--tasks or --test",
            got=slug,
            hint="name each task once, and give the files to score different names",
        )
    return tuple(found)


def _named(names: str) -> Iterator[Task]:
    for name in filter(None, (part.strip() for part in names.split(","))):
        task = parse_task(name)
        if task.kind in ("mmlu", "mmlu-pro") and task.category is None:
            of_mmlu = task.kind == "mmlu"
            categories = MMLU_CATEGORIES if of_mmlu else MMLU_PRO_CATEGORIES
            yield from (
                parse_task(f"{task.name}:{category}") for category in categories
            )
        else:
            yield task
