"""Carry out a plan: the output appears complete, under its own name, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from emo_prune.architectures import describe
from emo_prune.checkpoint import write_shard
from emo_prune.exports.destination import check_destination
from emo_prune.exports.plan import ExportPlan
from emo_prune.exports.publishing import (
    appearing,
    reopened,
    write_files,
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
    source = plan.model.checkpoint.source
    check_destination(source, destination, force=force)
    with appearing(destination, plan.num_bytes, force=force) as partial:
        for shard in plan.shards:
            write_shard(shard, source, partial, progress)
        complete(plan, partial)


def complete(plan: ExportPlan, partial: Path) -> None:
    """Write the files beside the shards, and check that all is as planned.

    Raises:
        ExportError: what lies there is not sound.
    """
    source = plan.model.checkpoint.source
    write_files(source, plan.copied, plan.written, partial)
    describe(reopened(partial, plan.shards))
