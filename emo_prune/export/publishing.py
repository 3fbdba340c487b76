"""The folder of an export on its way to its name: complete there, or not there at all.

It is `DIR.partial` until everything is written, and an earlier export is `DIR.replaced`
for the moment in which the new one gets its name. Both hold a marker, without which a
folder of such a name is somebody else's and stays.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from emo_prune.checkpoint import (
    ByteSource,
    Checkpoint,
    FolderSource,
    Shard,
    open_checkpoint,
)
from emo_prune.errors import EmoPruneError, ExportError, NotEnoughDisk, OutputExists
from emo_prune.export.record import (
    PRETRAIN_SCHEMA,
    RECORD,
    SCHEMA,
    record_schema,
)

MARKER = ".emo-prune-unfinished"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of output, known by its schema in a record inside the folder."""

    record: str
    schema: str

    def is_at(self, folder: Path) -> bool:
        """Tell whether a folder is of this kind, its record whole or damaged.

        A folder with an export's record is an export, whatever it was made of.
        """
        if self.record != RECORD and (folder / RECORD).exists():
            return False
        known = record_schema(folder, self.record) in (self.schema, None)
        return known and (folder / self.record).is_file()


EXPORT = Kind(record=RECORD, schema=SCHEMA)
PRETRAINED = Kind(record=RECORD, schema=PRETRAIN_SCHEMA)


def partial_of(destination: Path) -> Path:
    """Return the folder an export is written into before it gets its name."""
    return destination.with_name(destination.name + ".partial")


def _replaced_of(destination: Path) -> Path:
    return destination.with_name(destination.name + ".replaced")


def check_destination(
    source: ByteSource | None, destination: Path, *, force: bool, kind: Kind = EXPORT
) -> None:
    """Raise `OutputExists` or `ExportError` where `destination` must not be written.

    `force` replaces a folder of the same `kind`.
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
    refuse_existing(destination, force=force, kind=kind)


def refuse_existing(destination: Path, *, force: bool, kind: Kind = EXPORT) -> None:
    """Raise `OutputExists` for what is there and may not be replaced."""
    target = destination.resolve()
    for path in (partial_of(target), _replaced_of(target)):
        _refuse_foreign(path)
    if not os.path.lexists(destination):
        return
    may_go = kind.is_at(destination)
    if force and not may_go:
        raise OutputExists(
            "the output exists, and is nothing that --force may replace",
            where=destination,
            got=_schema_at(destination),
            expected=f"a folder with {kind.record} of schema {kind.schema}",
            hint="choose another folder with -o",
        )
    if not force:
        raise OutputExists(
            "the output exists already",
            where=destination,
            hint="use --force to replace it, or -o for another folder"
            if may_go
            else "choose another folder with -o: --force would not replace this one",
        )


def _schema_at(path: Path) -> str:
    if not path.is_dir():
        return "something that is no folder"
    return record_schema(path) or "a folder of another kind"


def _refuse_foreign(path: Path) -> None:
    """Raise `OutputExists` for a folder that bears the name of a leftover of ours."""
    if os.path.lexists(path) and not _is_leftover(path):
        raise OutputExists(
            "something that is no leftover of emo-prune is in the way",
            where=path,
            hint="move it, or choose another folder with -o",
        )


def _is_leftover(path: Path) -> bool:
    """Tell whether a folder was made here; just made it is empty yet."""
    if path.is_symlink() or not path.is_dir():
        return False
    return (path / MARKER).is_file() or not any(path.iterdir())


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
            _refuse_foreign(self.path)
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
        (self.path / MARKER).touch()

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


def publish(
    partial: Path, destination: Path, *, force: bool, kind: Kind = EXPORT
) -> None:
    """Give the finished folder its name; an earlier output goes only then.

    Raises:
        OutputExists: meanwhile something has appeared that may not be replaced.
    """
    refuse_existing(destination, force=force, kind=kind)
    if destination.exists():
        _replace(partial, destination)
    else:
        partial.rename(destination)
    (destination / MARKER).unlink(missing_ok=True)


def _replace(partial: Path, destination: Path) -> None:
    replaced = _replaced_of(destination)
    if replaced.exists():  # of an export that was killed
        shutil.rmtree(replaced)
    (destination / MARKER).touch()
    try:
        destination.rename(replaced)
        partial.rename(destination)
    except BaseException:
        if replaced.exists():
            replaced.rename(destination)
        (destination / MARKER).unlink()
        raise
    shutil.rmtree(replaced, ignore_errors=True)


@contextlib.contextmanager
def appearing(
    destination: Path, num_bytes: int, *, force: bool, kind: Kind = EXPORT
) -> Iterator[Path]:
    """Lend a folder to write to, which gets its name when the block ends well.

    Whatever goes wrong, Ctrl-C included, it is removed, and what bore the name stays.
    `num_bytes` are those to be written; `force` replaces an output of the same `kind`.

    Raises:
        OutputExists: something is in the way, and not to be replaced.
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
            publish(partial, destination, force=force, kind=kind)
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
