"""The folder of an output on its way to its name, and what a kill leaves of it.

It is `DIR.partial` until everything is written, and an earlier output is `DIR.replaced`
for the moment in which the new one gets its name. Both hold a marker, without which a
folder of such a name is somebody else's and stays.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from emo_prune.errors import OutputExists, Parameter
from emo_prune.locks import Lock

MARKER = ".emo-prune-unfinished"
ELSEWHERE = ("give another folder as ", Parameter("output"))
_REPLACES = "replaces\n"  # what the marker says of a run that may replace an output


def partial_of(destination: Path) -> Path:
    """Return the folder an output is written into before it gets its name."""
    return destination.with_name(destination.name + ".partial")


def replaced_of(destination: Path) -> Path:
    """Return the name of an earlier output while the new one gets its own."""
    return destination.with_name(destination.name + ".replaced")


def refuse_foreign(path: Path) -> None:
    """Raise `OutputExists` for what bears the name of a leftover, but is none."""
    if os.path.lexists(path) and not _is_leftover(path):
        raise OutputExists(
            "something that is no leftover of emo-prune is in the way",
            where=path,
            hint=("move it, or ", *ELSEWHERE),
        )


def _is_leftover(path: Path) -> bool:
    """Tell whether a folder was made here; at first and at last it is empty."""
    if path.is_symlink() or not path.is_dir():
        return False
    return (path / MARKER).is_file() or not any(path.iterdir())


def remove_leftover(path: Path) -> None:
    """Remove a folder, its marker last: what a kill leaves of it is still ours."""
    for inside in path.iterdir():
        if inside.is_dir() and not inside.is_symlink():
            shutil.rmtree(inside, ignore_errors=True)
        elif inside.name != MARKER:
            inside.unlink(missing_ok=True)
    (path / MARKER).unlink(missing_ok=True)
    path.rmdir()


class PartialFolder:
    """The folder an output is written into, held against every other process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock(path)
        self._ours: os.stat_result | None = None

    @property
    def is_held(self) -> bool:
        """Whether this process writes there."""
        return self._lock.is_held

    @property
    def replaces(self) -> bool:
        """Whether the run that made the folder was told to replace an output."""
        try:
            return (self.path / MARKER).read_text(encoding="utf-8") == _REPLACES
        except (OSError, UnicodeDecodeError):
            return False

    def make(self, *, force: bool, replaces: bool = False) -> None:
        """Make the folder; with `force`, in place of one that nobody writes to.

        Raises:
            OutputExists: there is one.
        """
        self._hold()
        self._ours = None
        try:
            if force and os.path.lexists(self.path):
                refuse_foreign(self.path)
                remove_leftover(self.path)
            self.path.mkdir()
            self._ours = self.path.stat()
            marker = _REPLACES if replaces else ""
            (self.path / MARKER).write_text(marker, encoding="utf-8", newline="")
        except BaseException as error:
            self.discard()  # what was there before is not ours, and stays
            if not isinstance(error, FileExistsError):
                raise
            raise OutputExists(
                "an unfinished export is in the way",
                where=self.path,
                hint=("to replace it, use ", Parameter("force", True)),
            ) from None

    def take_over(self) -> None:
        """Hold a folder that an earlier process has left.

        Raises:
            OutputExists: a process still writes there, or it is no folder.
        """
        if not self.path.is_dir():
            raise OutputExists(
                "something that is no folder is in the way",
                where=self.path,
                hint=("remove it, or ", *ELSEWHERE),
            )
        self._hold()
        self._ours = self.path.stat()

    def refuse_busy(self) -> None:
        """Raise `OutputExists` if a process writes there now."""
        if self.path.is_dir() and not self._lock.is_free():
            raise self._busy()

    def hold_name(self) -> None:
        """Hold the name of a folder that is not there any more.

        Raises:
            OutputExists: another process has it.
        """
        self._hold()

    def release(self) -> None:
        """Let go of the folder, whatever its name is by now."""
        self._lock.release()

    def discard(self) -> None:
        """Remove the folder if this process holds it, and it still has its name."""
        if self._is_in_place():
            with contextlib.suppress(OSError):  # whatever went wrong is told already
                remove_leftover(self.path)
        self.release()

    def _is_in_place(self) -> bool:
        if not self.is_held or self._ours is None:
            return False
        try:
            return os.path.samestat(self._ours, self.path.stat())
        except OSError:
            return False

    def _hold(self) -> None:
        if not self._lock.acquire():
            raise self._busy()

    def _busy(self) -> OutputExists:
        return OutputExists(
            "another process is writing there",
            where=self.path,
            hint=("wait for it, or stop it, or ", *ELSEWHERE),
        )
