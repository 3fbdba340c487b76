"""The folder that a sweep keeps finished cells in, beside its output.

    OUTPUT.state/
        run.json                      model, options and versions
        tasks/<task>/
            task.json                 the task, and hashes of its own files
            <size>.scores.safetensors one pass over calibration examples
            full.json                 results of the full model
            <size>-<score>-<n>.json   results with n experts in each layer
            other-<hash>.json         results of a model given by `also`

Each file is written atomically. Results always come from files that are complete, so a
sweep that was killed and one that was not end alike.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from emo_prune.errors import (
    BadExamples,
    BadSelection,
    EvaluationError,
    Parameter,
    StaleRun,
)
from emo_prune.evaluation import Results
from emo_prune.exports import PartialFolder
from emo_prune.files import noted_before, readable_json, sha256_bytes
from emo_prune.options import ReselectOptions
from emo_prune.selection import (
    ScoresFile,
    Selection,
    read_scores,
    select_again,
    write_scores,
)
from emo_prune.sweeps.grid import Grid, GridRow, Subset, SweepTask

_FULL = "full"


class SweepState:
    """Finished passes and cells; `key` is what those of another run would differ in."""

    def __init__(self, path: Path, key: Mapping[str, object]) -> None:
        self.path = path
        self._key = key
        self._run = path / "run.json"
        self._tasks = path / "tasks"
        self._held = PartialFolder(path)

    @contextmanager
    def held(self, *, force: bool) -> Iterator[None]:
        """Hold the folder for this process; `force` forgets what an earlier run left.

        Raises:
            StaleRun: the folder holds cells of another model, or of other options.
            OutputExists: another process is at work there.
        """
        with suppress(FileExistsError):  # what is there is looked at next
            self.path.mkdir(parents=True)
        self._held.take_over()
        try:
            if force or not self._run.exists():
                self._run.unlink(missing_ok=True)
                shutil.rmtree(self._tasks, ignore_errors=True)
            _claim(self._run, self._key)
            yield
        finally:
            self._held.release()

    def begin(self, task: SweepTask) -> None:
        """Note what a task is, or see that it is the same as before.

        Raises:
            StaleRun: cells of another task, or of other files, are there.
            BadExamples: a file of examples cannot be read.
        """
        files = {use: _hash(path) for use, path in task.files.items()}
        facts = {"name": task.name, "calibration": task.calibration.name, **files}
        _claim(self._tasks / task.slug / "task.json", facts)

    def pass_file(self, task: SweepTask, size: str) -> Path:
        """Return where a pass over calibration examples is kept."""
        return self._tasks / task.slug / f"{size}.scores.safetensors"

    def cell_file(self, task: SweepTask, row: GridRow) -> Path:
        """Return where the results of a row are kept."""
        name = _FULL if row is None else row.file
        return self._tasks / task.slug / f"{name}.json"

    def counted(self, task: SweepTask, size: str) -> ScoresFile:
        """Return what a pass that is kept has counted.

        Raises:
            StaleRun: the file is damaged.
        """
        file = self.pass_file(task, size)
        try:
            return read_scores(file)
        except BadSelection as error:
            raise _damaged(file, error) from None

    def selection(self, grid: Grid, task: SweepTask, subset: Subset) -> Selection:
        """Return a task's experts, from the pass that is kept.

        Raises:
            StaleRun: the file is damaged.
        """
        options = ReselectOptions(
            self.pass_file(task, subset.size),
            keep=subset.budget.keep.text,
            score=subset.score,
            lower_top_k=grid.lower_top_k,
        )
        return select_again(self.counted(task, subset.size), options)

    def results(self, task: SweepTask, row: GridRow) -> Results:
        """Return the results of a finished cell.

        Raises:
            StaleRun: the file is damaged.
        """
        file = self.cell_file(task, row)
        try:
            return Results.load(file)
        except EvaluationError as error:
            raise _damaged(file, error) from None


def keep(file: Path, found: ScoresFile | Results) -> None:
    """Write what a pass or a cell found."""
    if isinstance(found, ScoresFile):
        write_scores(file, found)
    else:
        found.save(file)


def _claim(file: Path, facts: Mapping[str, object]) -> None:
    try:
        before = noted_before(file, facts)
    except (ValueError, OSError) as error:
        raise _damaged(file, error) from None
    if before is None:
        return
    now = json.loads(readable_json(dict(facts)))
    differing = [k for k in {**now, **before} if now.get(k) != before.get(k)]
    if differing:
        name = differing[0]
        raise StaleRun(
            "the cells kept there are of another sweep",
            where=file,
            got=f"another {name}: {before.get(name)!r}"[:200],
            expected=repr(now.get(name))[:200],
            hint=(
                "repeat the options of that sweep, choose another place with ",
                *(Parameter("output"), ", or start over with "),
                Parameter("force", True),
            ),
        )


def _damaged(file: Path, error: Exception) -> StaleRun:
    return StaleRun(
        "a file of the interrupted sweep is damaged",
        where=file,
        got=str(error)[:200],
        hint=(
            *("start over with ", Parameter("force", True)),
            ", or remove that file alone",
        ),
    )


def _hash(path: Path) -> str:
    try:
        return sha256_bytes(path.read_bytes())
    except OSError as error:
        raise BadExamples(
            "the examples cannot be read",
            where=path,
            got=error.strerror,
            hint="check the name of the file",
        ) from None
