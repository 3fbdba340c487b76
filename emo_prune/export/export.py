"""Carry out a plan: the output appears complete, under its own name, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from emo_prune.architectures import describe
from emo_prune.checkpoint import FolderSource, open_checkpoint, write_shard
from emo_prune.errors import EmoPruneError, ExportError, NotEnoughDisk, OutputExists
from emo_prune.export.plan import ExportPlan
from emo_prune.export.record import RECORD

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def export(
    plan: ExportPlan,
    destination: Path,
    *,
    force: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write a plan into `DIR.partial`, check it, rename it to `DIR`.

    Whatever goes wrong, Ctrl-C included, the partial folder is removed and an earlier
    export stays; it is `DIR.replaced` for the moment in which the new one gets its
    name. `progress` is told the bytes of each copy. Data are left to the operating
    system to flush, as `cp` does; `verify` re-reads them.

    Raises:
        OutputExists: the destination exists (and may not be replaced).
        NotEnoughDisk: the output does not fit.
        ExportError: the folder cannot be written, or the result is not sound.
    """
    check_destination(plan, destination, force=force)
    destination = destination.resolve()  # a link to another disk: beside its target
    partial = partial_of(destination)
    with _named_errors(destination, plan):
        if force and partial.exists():
            shutil.rmtree(partial)
        partial.parent.mkdir(parents=True, exist_ok=True)
        _check_disk(plan, partial.parent)
        _make_partial(partial)
        try:
            _write(plan, partial, progress)
            _check(plan, partial)
            _publish(partial, destination)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def partial_of(destination: Path) -> Path:
    """Return the folder an export is written into before it gets its name."""
    return destination.with_name(destination.name + ".partial")


def check_destination(plan: ExportPlan, destination: Path, *, force: bool) -> None:
    """Raise `OutputExists` or `ExportError` where `destination` must not be written."""
    source = plan.model.checkpoint.source
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


def _check_disk(plan: ExportPlan, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if plan.num_bytes > free:
        raise NotEnoughDisk(
            "the output does not fit on the disk",
            where=folder,
            got=f"{free:,} bytes free",
            expected=f"{plan.num_bytes:,}",
            hint="free some space, or choose another disk with -o",
        )


def _make_partial(partial: Path) -> None:
    try:
        partial.mkdir()
    except FileExistsError:
        raise OutputExists(
            "an unfinished export is in the way",
            where=partial,
            hint="if no other export is running, use --force to replace it",
        ) from None


def _write(plan: ExportPlan, partial: Path, progress: Callable[[int], None]) -> None:
    source = plan.model.checkpoint.source
    for shard in plan.shards:
        write_shard(shard, source, partial, progress)
    for file, name in plan.copied.items():
        target = partial / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as output:
            source.copy(file, 0, source.size(file), output.fileno())
    for name, text in plan.written.items():
        (partial / name).write_text(text, encoding="utf-8")


def _check(plan: ExportPlan, partial: Path) -> None:
    """Re-open what was written: headers, index, shapes and config must agree."""
    written = open_checkpoint(str(partial))
    planned = {
        tensor.name: (tensor.dtype, tensor.shape)
        for shard in plan.shards
        for tensor in shard.tensors
    }
    found = {t.name: (t.dtype, t.shape) for t in written.tensors.values()}
    if found != planned:
        raise ExportError(
            "what was written is not what was planned",
            where=partial,
            got=f"{len(found)} tensors",
            expected=f"{len(planned)}",
            hint="does something else write there? choose another folder with -o",
        )
    describe(written)


def _publish(partial: Path, destination: Path) -> None:
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
def _named_errors(destination: Path, plan: ExportPlan) -> Iterator[None]:
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
                expected=f"{plan.num_bytes:,} bytes",
                hint="free some space, or choose another disk with -o",
            ) from None
        raise ExportError(
            "the output cannot be written; nothing was left behind",
            where=destination,
            got=str(error),
            hint="check permissions, or choose another folder with -o",
        ) from None
