"""Where bytes come from: any source, and the local folder that is one."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

from emo_prune.errors import CheckpointError, EmoPruneError, HeaderError, MissingShard

_BUFFER = 1024 * 1024  # larger ones fall out of the processor's cache
_BINARY = getattr(os, "O_BINARY", 0)  # Windows translates line ends without it
# Not to wait at a named pipe; regular files know no other way.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)
_one_position = threading.Lock()  # where a file has no other than its own

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Wanted(NamedTuple):
    """Bytes of a file from `start` on, as many as `buffer` (writable) holds."""

    file: str
    start: int
    buffer: memoryview


class ByteSource(ABC):
    """Files of one checkpoint, read by byte range, by several threads at once.

    `bytes_read` counts the bytes that came from the disk or over the wire so far;
    `at_once` is how many reads or copies are worth running at a time.
    """

    at_once: int

    def __init__(self) -> None:
        self.bytes_read = 0
        self._counting = threading.Lock()

    @abstractmethod
    def size(self, file: str) -> int:
        """Return the size of a file in bytes; raise `MissingShard` without it."""

    @abstractmethod
    def files(self) -> tuple[str, ...]:
        """Return the relative names of all files, sorted."""

    @abstractmethod
    def fill(self, wanted: Sequence[Wanted]) -> None:
        """Fill buffers; reads that lie close together or far away may be joined."""

    @abstractmethod
    def copy(self, file: str, start: int, end: int, output: int, at: int = 0) -> None:
        """Write bytes [start, end) of a file to a descriptor, at a position of it."""

    def read(self, file: str, start: int, end: int) -> bytes:
        """Return bytes [start, end) of a file."""
        buffer = bytearray(end - start)
        self.fill([Wanted(file, start, memoryview(buffer))])
        return bytes(buffer)

    @property
    def cache_problem(self) -> EmoPruneError | None:
        """Why what is read is no longer kept as asked; None if all is well."""
        return None

    def _count(self, num_bytes: int) -> None:
        with self._counting:
            self.bytes_read += num_bytes


class FolderSource(ByteSource):
    """The files of a local folder. Symbolic links (the Hub's cache) are followed."""

    at_once = 2  # memory bandwidth is the limit; more only get in each other's way

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def size(self, file: str) -> int:
        """Return the size of a file in bytes; raise `MissingShard` without it."""
        with self._open(file) as descriptor:
            return os.fstat(descriptor).st_size

    def fill(self, wanted: Sequence[Wanted]) -> None:
        """Fill buffers, in order; raise `HeaderError` if a file is shorter."""
        for file, start, buffer in wanted:
            with self._open(file) as descriptor:
                self._count(len(buffer))
                while buffer:
                    size = _read_at(descriptor, buffer, start)
                    if not size:
                        raise _ends_early(file, start)
                    buffer = buffer[size:]
                    start += size

    def copy(self, file: str, start: int, end: int, output: int, at: int = 0) -> None:
        """Write bytes [start, end) of a file to a descriptor, at a position of it.

        Through a buffer: source and output lie at different offsets within a page,
        where copying inside the kernel goes page by page and is slower.
        """
        buffer = memoryview(bytearray(min(_BUFFER, end - start)))
        with self._open(file) as descriptor:
            self._count(end - start)
            while start < end:
                size = _read_at(descriptor, buffer[: end - start], start)
                if not size:
                    raise _ends_early(file, start)
                write_at(output, buffer[:size], at)
                start += size
                at += size

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
            descriptor = os.open(self.root / file, os.O_RDONLY | _BINARY | _AT_ONCE)
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


def is_inside(name: str) -> bool:
    """Tell whether a file's name is a plain relative path that leaves no folder."""
    path = PurePosixPath(name)
    return (
        not path.is_absolute()
        and ".." not in path.parts
        and str(path) == name  # "./x" and "a//x" would be second names of one file
        and name.isprintable()
        and "\\" not in name
    )


def open_output(path: Path, *, new: bool = False) -> int:
    """Return a descriptor of a file to write to; `new`: it must not exist yet."""
    flags = os.O_CREAT | os.O_EXCL if new else 0
    return os.open(path, os.O_WRONLY | _BINARY | flags, 0o666)


def write_at(output: int, data: bytes | memoryview, at: int) -> None:
    """Write all of some bytes to a descriptor, at a position of it.

    Several threads may write at once, to other positions.
    """
    view = memoryview(data)
    while view:
        if hasattr(os, "pwrite"):
            written = os.pwrite(output, view, at)
        else:  # Windows
            with _one_position:
                os.lseek(output, at, os.SEEK_SET)
                written = os.write(output, view)
        view = view[written:]
        at += written


def _read_at(descriptor: int, buffer: memoryview, at: int) -> int:
    """Fill a buffer from a position of a descriptor; return how far that went.

    No other thread may use the descriptor meanwhile.
    """
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [buffer], at)
    os.lseek(descriptor, at, os.SEEK_SET)  # older macOS, Windows
    data = os.read(descriptor, len(buffer))
    buffer[: len(data)] = data
    return len(data)


def _ends_early(file: str, position: int) -> HeaderError:
    return HeaderError(
        "the file became shorter while it was read",
        where=file,
        got=f"an end at byte {position:,}",
        hint="something else writes to the checkpoint; stop it and try again",
    )


def several(
    function: Callable[[_Item], _Result], items: Sequence[_Item], threads: int
) -> Iterator[_Result]:
    """Yield the function's result of each item, in order; several run at once.

    After a failure, what has not begun is left undone.
    """
    if len(items) < 2:
        yield from map(function, items)
        return
    from concurrent.futures import ThreadPoolExecutor  # slow; one shard needs none

    with ThreadPoolExecutor(min(threads, len(items))) as pool:
        try:
            yield from pool.map(function, items)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
