"""The folder of an export on its way to its name: complete there, or not there at all.

It is `DIR.partial` until everything is written, and an earlier export is `DIR.replaced`
for the moment in which the new one gets its name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from emo_prune.checkpoint import (
    ByteSource,
    Checkpoint,
    FolderSource,
    Shard,
    open_checkpoint,
)
from emo_prune.errors import EmoPruneError, ExportError, NotEnoughDisk, OutputExists
from emo_prune.export.record import RECORD, SCHEMA, record_schema

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def partial_of(destination: Path) -> Path:
    """Return the folder an export is written into before it gets its name."""
    return destination.with_name(destination.name + ".partial")


def check_destination(
    source: ByteSource | None,
    destination: Path,
    *,
    force: bool,
    schema: str = SCHEMA,
    record: str = RECORD,
) -> None:
    """Raise `OutputExists` or `ExportError` where `destination` must not be written.

    `force` replaces a folder whose `record` has the `schema`, or is damaged.
    """
    if isinstance(source, FolderSource):
        root, target = source.root.resolve(), destination.resolve()
        if target == root or root in target.parents or target in root.parents:
            raise ExportError(
                "the output would lie inside the source, or around it",
                where=destination,
                got=f"source {source.root}",
                hint="choose another folder with -o",
            )
    if not os.path.lexists(destination):
        _refuse_below_a_file(destination)
        return
    if not force:
        raise OutputExists(
            "the output exists already",
            where=destination,
            hint="use --force to replace it, or -o for another folder",
        )
    found = record_schema(destination, record)
    if not (destination / record).is_file() or found not in (schema, None):
        raise OutputExists(
            "the output exists, and is nothing that --force may replace",
            where=destination,
            got=found,
            expected=f"a folder with {record} of schema {schema}",
            hint="choose another folder with -o",
        )


def _refuse_below_a_file(destination: Path) -> None:
    there = next(path for path in destination.absolute().parents if path.exists())
    if not there.is_dir():
        raise ExportError(
            "the output cannot be written, since it would lie below a file",
            where=destination,
            got=f"{there}, which is no folder",
            hint="choose another folder with -o",
        )


def check_disk(folder: Path, num_bytes: int) -> None:
    """Raise `NotEnoughDisk` if a folder's disk has no room for the output."""
    free = shutil.disk_usage(folder).free
    if num_bytes > free:
        raise NotEnoughDisk(
            "the output does not fit on the disk",
            where=folder,
            got=f"{free:,} bytes free",
            expected=f"{num_bytes:,}",
            hint="free some space, or choose another disk with -o",
        )


class PartialFolder:
    """The folder an export is written into, held against every other process.

    The lock is the system's, on the folder itself: it ends with the process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this process writes there."""
        return self._descriptor is not None

    def make(self, *, force: bool) -> None:
        """Make the folder; with `force`, in place of one that nobody writes to.

        Raises:
            OutputExists: there is one.
        """
        if force and self.path.exists():
            self.take_over()
            self.discard()
        try:
            self.path.mkdir()
        except FileExistsError:
            raise OutputExists(
                "an unfinished export is in the way",
                where=self.path,
                hint="if no other export is running, use --force to replace it",
            ) from None
        self._lock()

    def take_over(self) -> None:
        """Hold a folder that an earlier process has left.

        Raises:
            OutputExists: a process still writes there, or it is no folder.
        """
        if not self.path.is_dir():
            raise OutputExists(
                "something that is no folder is in the way",
                where=self.path,
                hint="remove it, or choose another folder with -o",
            )
        self._lock()

    def refuse_busy(self) -> None:
        """Raise `OutputExists` if a process writes there now."""
        if self.path.is_dir():
            self._lock()
            self.release()

    def release(self) -> None:
        """Let go of the folder, whatever its name is by now."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def discard(self) -> None:
        """Remove the folder if this process holds it."""
        if self.is_held:
            shutil.rmtree(self.path, ignore_errors=True)
            self.release()

    def _lock(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise OutputExists(
                "another process is writing there",
                where=self.path,
                hint="wait for it, or stop it, or choose another folder with -o",
            ) from None
        self._descriptor = descriptor


def publish(partial: Path, destination: Path) -> None:
    """Give the finished folder its name; an earlier export goes only then."""
    replaced = destination.with_name(destination.name + ".replaced")
    if destination.exists():
        if replaced.exists():  # of an export that was killed
            shutil.rmtree(replaced)
        destination.rename(replaced)
        try:
            partial.rename(destination)
        except BaseException:
            replaced.rename(destination)
            raise
        shutil.rmtree(replaced, ignore_errors=True)
    else:
        partial.rename(destination)


@contextlib.contextmanager
def appearing(destination: Path, num_bytes: int, *, force: bool) -> Iterator[Path]:
    """Lend a folder to write to, which gets its name when the block ends well.

    Whatever goes wrong, Ctrl-C included, it is removed, and what bore the name stays.
    `num_bytes` are those to be written.

    Raises:
        OutputExists: an unfinished output is in the way, and not to be replaced.
        NotEnoughDisk: the output does not fit.
        ExportError: the folder cannot be written.
    """
    destination = destination.resolve()  # a link to another disk: beside its target
    partial = partial_of(destination)
    with named_errors(destination, num_bytes):
        partial.parent.mkdir(parents=True, exist_ok=True)
        folder = PartialFolder(partial)
        check_disk(partial.parent, num_bytes)
        folder.make(force=force)
        try:
            yield partial
            publish(partial, destination)
        except BaseException:
            folder.discard()
            raise
        finally:
            folder.release()


@contextlib.contextmanager
def named_errors(
    destination: Path, num_bytes: int, left: str = "nothing was left behind"
) -> Iterator[None]:
    """Turn the system's errors while an export is written into named ones.

    `left` says what became of what had been written.
    """
    try:
        yield
    except EmoPruneError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise NotEnoughDisk(
                f"the disk became full; {left}",
                where=destination,
                got=str(error.strerror),
                expected=f"{num_bytes:,} bytes",
                hint="free some space, or choose another disk with -o",
            ) from None
        raise ExportError(
            f"the output cannot be written; {left}",
            where=destination,
            got=str(error),
            hint="check permissions, or choose another folder with -o",
        ) from None


def write_files(
    source: ByteSource,
    copied: Mapping[str, str],
    written: Mapping[str, str],
    folder: Path,
) -> None:
    """Write what lies beside the weights: files of the source by new names, and texts.

    `copied` maps files of the source to their names in the folder, `written` names to
    texts.
    """
    for file, name in copied.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as output:
            source.copy(file, 0, source.size(file), output.fileno())
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8")


def reopened(folder: Path, shards: Iterable[Shard]) -> Checkpoint:
    """Open what was written: headers, index and shapes must be as planned.

    Raises:
        ExportError: they are not.
    """
    written = open_checkpoint(str(folder))
    planned = {
        tensor.name: (tensor.dtype, tensor.shape)
        for shard in shards
        for tensor in shard.tensors
    }
    found = {t.name: (t.dtype, t.shape) for t in written.tensors.values()}
    if found != planned:
        raise ExportError(
            "what was written is not what was planned",
            where=folder,
            got=f"{len(found)} tensors",
            expected=f"{len(planned)}",
            hint="does something else write there? choose another folder with -o",
        )
    return written
