"""Locks between processes: the one place that knows how a system has them.

A lock is a hidden file beside what it guards, never inside: systems other than Linux
rename no folder in which a file is open. It ends with the process, however that ends.
What a killed one leaves is an empty file, which the next holder takes and removes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

PATIENCE = 10.0  # seconds; whoever writes one file is done by then, or hangs
_POLL = 0.05


class Lock:
    """Holds a file or folder against every other process, and every other `Lock`."""

    def __init__(self, guarded: Path) -> None:
        name = f".{guarded.name.lstrip('.')}.lock"
        self._file = guarded.with_name(name)
        self._held: BaseFileLock | None = None

    @property
    def is_held(self) -> bool:
        """Whether this is the holder."""
        return self._held is not None

    def acquire(self) -> bool:
        """Take the lock if nobody has it, without waiting; tell whether it is taken.

        Raises:
            OSError: the lock's file cannot be written, or there are no locks there.
        """
        if self._held is None:
            self._held = self._taken()
        return self._held is not None

    def release(self) -> None:
        """Let go; the file of the lock goes too."""
        held, self._held = self._held, None
        if held is None:
            return
        # While it is still held: afterwards the file may be that of the next holder.
        # Windows removes no open file; there the library does when it has closed it.
        with contextlib.suppress(OSError):
            self._file.unlink()
        with contextlib.suppress(OSError):  # some versions look for the file again
            held.release()

    def is_free(self) -> bool:
        """Tell whether nobody holds it; everything stays as it is."""
        if self._held is not None:
            return False
        if not os.path.lexists(self._file):
            return True
        probe = self._taken()
        if probe is None:
            return False
        probe.release()
        return True

    def _taken(self) -> BaseFileLock | None:
        from filelock import FileLock, Timeout  # slow, and most commands lock nothing

        lock = FileLock(self._file, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return None
        except NotImplementedError:
            raise OSError(errno.ENOLCK, "the file system has no locks") from None
        return lock


@contextlib.contextmanager
def held(guarded: Path, *, patience: float = 0.0) -> Iterator[bool]:
    """Hold something while the block runs; tell whether it is held.

    Where another process has it for more than `patience` seconds, or where there are
    no locks, the block runs as well.
    """
    lock = Lock(guarded)
    try:
        yield _waited(lock, patience)
    finally:
        lock.release()


def _waited(lock: Lock, patience: float) -> bool:
    end = time.monotonic() + patience
    try:
        while not lock.acquire():
            if time.monotonic() > end:
                return False
            time.sleep(_POLL)
    except OSError:
        return False
    return True
