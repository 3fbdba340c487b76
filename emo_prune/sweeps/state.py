"""The folder that a sweep keeps finished cells in, beside its output.

    OUTPUT.state/
        run.json                      model, options and versions
        tasks/<task>/
            task.json                 the task, and hashes of its own files
            <size>.scores.safetensors one pass over calibration examples
            full.json                 results of the full model
            <size>-<score>-<n>.json   results with n experts in each layer
            other-<hash>.json         results of a model given by --also

Each file is written atomically. Results always come from files that are complete, so a
sweep that was killed and one that was not end alike.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emo_prune.errors import BadExamples, EvaluationError, StaleRun
from emo_prune.evaluation import Results
from emo_prune.exports import PartialFolder
from emo_prune.files import (
    noted_before,
    readable_json,
    sha256_bytes,
)
from emo_prune.sweeps.tasks import SweepTask


class SweepState:
    """Finished passes and cells; `key` is what those of another run would differ in."""

    def __init__(self, path: Path, key: Mapping[str, Any]) -> None:
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
        self.path.mkdir(parents=True, exist_ok=True)
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

    def scores(self, task: SweepTask, size: str) -> Path:
        """Return where a pass over calibration examples is kept."""
        return self._tasks / task.slug / f"{size}.scores.safetensors"

    def cell(self, task: SweepTask, name: str) -> Path:
        """Return where results are kept."""
        return self._tasks / task.slug / f"{name}.json"


def read_cell(file: Path) -> Results:
    """Return the results of a finished cell.

    Raises:
        StaleRun: the file is damaged.
    """
    try:
        return Results.load(file)
    except EvaluationError as error:
        raise _damaged(file, error) from None


def _claim(file: Path, facts: Mapping[str, Any]) -> None:
    try:
        before = noted_before(file, facts)
    except ValueError as error:
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
            hint="repeat the options of that sweep, choose another place with -o, or "
            "start over with --force",
        )


def _damaged(file: Path, error: Exception) -> StaleRun:
    return StaleRun(
        "a file of the interrupted sweep is damaged",
        where=file,
        got=str(error)[:200],
        hint="start over with --force, or remove that file alone",
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
