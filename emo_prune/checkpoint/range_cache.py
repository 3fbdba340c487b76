"""Byte ranges kept in a folder, so that a second run pays only for what is new.

    <folder>/<organisation>--<name>/<commit>/<file>/<start>-<end>

Each range is a file of its own that appears complete or not at all, so several
processes may share the folder; a file of another size than its name says is removed.
A commit never changes, so nothing here grows stale. What the cache cannot find out:
bits that flipped on the disk, or a power cut that lost a file's data but not its size.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from emo_prune.checkpoint.source import Wanted
from emo_prune.errors import ExportError
from emo_prune.files import write_atomically

_NAME = re.compile(r"(\d{1,19})-(\d{1,19})")
_Interval = tuple[int, int]


class RangeCache:
    """The stored ranges of one repository at one commit, for several threads.

    A full disk, or a folder that cannot be written, must not fail a read: storing
    then stops, and `problem` holds why.
    """

    def __init__(self, folder: Path, repository: str, commit: str) -> None:
        self._folder = folder / repository.replace("/", "--") / commit
        self._stored: dict[str, list[_Interval]] = {}
        self._lock = threading.Lock()
        self.problem: ExportError | None = None

    def fill(self, wanted: Iterable[Wanted]) -> list[Wanted]:
        """Fill buffers as far as their bytes are stored; return the parts that lack."""
        return [gap for want in wanted for gap in self._fill(want)]

    def store(self, file: str, start: int, data: memoryview) -> None:
        """Keep the bytes of a file from `start` on."""
        if self.problem is not None:
            return
        interval = (start, start + len(data))
        try:
            write_atomically(self._path(file, interval), data, durable=False)
        except ExportError as error:
            self.problem = error
            return
        with self._lock:
            self._stored[file] = _outermost([*self._intervals(file), interval])

    def _fill(self, want: Wanted) -> Iterator[Wanted]:
        def part(start: int, end: int) -> Wanted:
            buffer = want.buffer[start - want.start : end - want.start]
            return Wanted(want.file, start, buffer)

        position, end = want.start, want.start + len(want.buffer)
        for stored in self._overlapping(want.file, position, end):
            first, last = max(position, stored[0]), min(end, stored[1])
            if position < first:
                yield part(position, first)
            if not self._read(want.file, stored, part(first, last)):
                yield part(first, last)
            position = last
        if position < end:
            yield part(position, end)

    def _overlapping(self, file: str, start: int, end: int) -> Sequence[_Interval]:
        """Return the stored ranges with bytes in [start, end), by their position."""
        with self._lock:
            stored = self._intervals(file)
            first = bisect_right(stored, start, key=lambda interval: interval[1])
            last = first
            while last < len(stored) and stored[last][0] < end:
                last += 1
            return stored[first:last]

    def _intervals(self, file: str) -> list[_Interval]:
        if file not in self._stored:
            names: list[str] = []
            with contextlib.suppress(OSError):
                names = [path.name for path in (self._folder / file).iterdir()]
            matches = filter(None, map(_NAME.fullmatch, names))
            self._stored[file] = _outermost((int(m[1]), int(m[2])) for m in matches)
        return self._stored[file]

    def _read(self, file: str, stored: _Interval, part: Wanted) -> bool:
        """Read part of a stored range; if it is damaged, remove it and return False."""
        path = self._path(file, stored)
        start, end = stored
        with contextlib.suppress(OSError), path.open("rb", buffering=0) as opened:
            sound = os.fstat(opened.fileno()).st_size == end - start
            opened.seek(part.start - start)
            if sound and opened.readinto(part.buffer) == len(part.buffer):
                return True
        with self._lock:
            if stored in self._intervals(file):
                self._stored[file].remove(stored)
        with contextlib.suppress(OSError):
            path.unlink()
        return False

    def _path(self, file: str, interval: _Interval) -> Path:
        return self._folder / file / f"{interval[0]}-{interval[1]}"


def _outermost(intervals: Iterable[_Interval]) -> list[_Interval]:
    """Return intervals that lie in no other, sorted by start and so also by end."""
    kept: list[_Interval] = []
    for start, end in sorted(intervals, key=lambda found: (found[0], -found[1])):
        if start < end and (not kept or end > kept[-1][1]):
            kept.append((start, end))
    return kept
