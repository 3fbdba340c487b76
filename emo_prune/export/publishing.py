"""The folder of an export on its way to its name: complete there, or not there at all.

It is `DIR.partial` until everything is written, and an earlier export is `DIR.replaced`
for the moment in which the new one gets its name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from emo_prune.checkpoint import ByteSource, FolderSource
from emo_prune.errors import EmoPruneError, ExportError, NotEnoughDisk, OutputExists
from emo_prune.export.record import RECORD

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def partial_of(destination: Path) -> Path:
    """Return the folder an export is written into before it gets its name."""
    return destination.with_name(destination.name + ".partial")


def check_destination(source: ByteSource, destination: Path, *, force: bool) -> None:
    """Raise `OutputExists` or `ExportError` where `destination` must not be written."""
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
        return
    if not force:
        raise OutputExists(
            "the output exists already",
            where=destination,
            hint="use --force to replace it, or -o for another folder",
        )
    if not (destination / RECORD).is_file():
        raise OutputExists(
            "the output exists, and is not an export that --force may replace",
            where=destination,
            expected=f"a folder with {RECORD}",
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


def make_partial(partial: Path) -> None:
    """Make the folder to write into; raise `OutputExists` if there is one."""
    try:
        partial.mkdir()
    except FileExistsError:
        raise OutputExists(
            "an unfinished export is in the way",
            where=partial,
            hint="if no other export is running, use --force to replace it",
        ) from None


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
def named_errors(destination: Path, num_bytes: int) -> Iterator[None]:
    """Turn the system's errors while an export is written into named ones."""
    try:
        yield
    except EmoPruneError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise NotEnoughDisk(
                "the disk became full; nothing was left behind",
                where=destination,
                got=str(error.strerror),
                expected=f"{num_bytes:,} bytes",
                hint="free some space, or choose another disk with -o",
            ) from None
        raise ExportError(
            "the output cannot be written; nothing was left behind",
            where=destination,
            got=str(error),
            hint="check permissions, or choose another folder with -o",
        ) from None
