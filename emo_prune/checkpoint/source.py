"""Where bytes come from: a protocol, and the local folder that implements it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from emo_prune.errors import CheckpointError, HeaderError, MissingShard

_CHUNK = 8 * 1024 * 1024
# copy_file_range refuses some file systems and pairs of them; reading works on all.
_NO_KERNEL_COPY = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}


class ByteSource(Protocol):
    """Files of one checkpoint, read by byte range."""

    def size(self, file: str) -> int:
        """Return the size of a file in bytes; raise `MissingShard` without it."""

    def read(self, file: str, start: int, end: int) -> bytes:
        """Return bytes [start, end) of a file."""

    def copy(self, file: str, start: int, end: int, output: int) -> None:
        """Append bytes [start, end) of a file to an open file descriptor."""

    def files(self) -> tuple[str, ...]:
        """Return the relative names of all files, sorted."""


class FolderSource:
    """The files of a local folder. Symbolic links (the Hub's cache) are followed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def size(self, file: str) -> int:
        """Return the size of a file in bytes; raise `MissingShard` without it."""
        with self._open(file) as descriptor:
            return os.fstat(descriptor).st_size

    def read(self, file: str, start: int, end: int) -> bytes:
        """Return bytes [start, end) of a file; raise `HeaderError` if it is shorter."""
        with self._open(file) as descriptor:
            pieces = []
            while start < end:
                piece = os.pread(descriptor, end - start, start)
                if not piece:
                    raise _ends_early(file, start)
                pieces.append(piece)
                start += len(piece)
            return b"".join(pieces)

    def copy(self, file: str, start: int, end: int, output: int) -> None:
        """Append bytes [start, end) of a file, inside the kernel where it can."""
        with self._open(file) as descriptor:
            os.lseek(descriptor, start, os.SEEK_SET)
            remaining = end - start
            while remaining:
                copied = _copy_some(descriptor, output, remaining)
                if not copied:
                    raise _ends_early(file, end - remaining)
                remaining -= copied

    def files(self) -> tuple[str, ...]:
        """Return the relative names of all files, sorted; hidden ones are left out."""
        found = (
            path.relative_to(self.root).as_posix()
            for path in self.root.rglob("*")
            if path.is_file()
        )
        return tuple(
            sorted(
                name
                for name in found
                if not any(part.startswith(".") for part in name.split("/"))
            )
        )

    @contextlib.contextmanager
    def _open(self, file: str) -> Iterator[int]:
        try:
            # Not to wait at a named pipe; regular files know no other way.
            descriptor = os.open(self.root / file, os.O_RDONLY | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            raise self._missing(file, "no such file") from None
        except OSError as error:
            raise CheckpointError(
                "a file of the checkpoint cannot be opened",
                where=file,
                got=error.strerror,
                hint="check its permissions",
            ) from None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise self._missing(file, "something that is not a file")
            yield descriptor
        finally:
            os.close(descriptor)

    def _missing(self, file: str, got: str) -> MissingShard:
        return MissingShard(
            "a file of the checkpoint is missing",
            where=f"{self.root.name}/{file}",
            got=got,
            hint="download the checkpoint again",
        )


def _copy_some(source: int, output: int, limit: int) -> int:
    """Copy at most `limit` bytes between descriptors; return how many."""
    if hasattr(os, "copy_file_range"):
        try:
            copied = os.copy_file_range(source, output, min(limit, 1 << 30))
        except OSError as error:
            if error.errno not in _NO_KERNEL_COPY:
                raise
        else:
            if copied:
                return copied
            # Some virtual file systems say 0 where a read still finds bytes.
    piece = os.read(source, min(limit, _CHUNK))
    written = 0
    while written < len(piece):
        written += os.write(output, piece[written:])
    return written


def _ends_early(file: str, position: int) -> HeaderError:
    return HeaderError(
        "the file became shorter while it was read",
        where=file,
        got=f"an end at byte {position:,}",
        hint="something else writes to the checkpoint; stop it and try again",
    )
