"""Carry out a plan: the output appears complete, under its own name, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from emo_prune.architectures import describe
from emo_prune.checkpoint import open_checkpoint, write_shard
from emo_prune.errors import ExportError
from emo_prune.export.plan import ExportPlan
from emo_prune.export.publishing import (
    PartialFolder,
    check_destination,
    check_disk,
    named_errors,
    partial_of,
    publish,
)


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
    check_destination(plan.model.checkpoint.source, destination, force=force)
    destination = destination.resolve()  # a link to another disk: beside its target
    partial = partial_of(destination)
    with named_errors(destination, plan.num_bytes):
        partial.parent.mkdir(parents=True, exist_ok=True)
        folder = PartialFolder(partial)
        check_disk(partial.parent, plan.num_bytes)
        folder.make(force=force)
        try:
            for shard in plan.shards:
                write_shard(shard, plan.model.checkpoint.source, partial, progress)
            complete(plan, partial)
            publish(partial, destination)
        except BaseException:
            folder.discard()
            raise
        finally:
            folder.release()


def complete(plan: ExportPlan, partial: Path) -> None:
    """Write the files beside the shards, and check that all is as planned.

    Raises:
        ExportError: what lies there is not sound.
    """
    source = plan.model.checkpoint.source
    for file, name in plan.copied.items():
        target = partial / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as output:
            source.copy(file, 0, source.size(file), output.fileno())
    for name, text in plan.written.items():
        (partial / name).write_text(text, encoding="utf-8")
    _check(plan, partial)


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
