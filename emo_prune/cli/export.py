"""`emo-prune export`."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from emo_prune.cli import console
from emo_prune.cli.command import command as command_of
from emo_prune.files import readable_json
from emo_prune.options import ExportOptions
from emo_prune.units import format_bytes

if TYPE_CHECKING:
    from emo_prune.exports import Exported


def _export(options: ExportOptions, as_json: bool) -> None:
    """Write the smaller checkpoint that a selection describes.

    Bytes are copied, never decoded. The folder appears complete or not at all.

        emo-prune export

        emo-prune export --selection s.json --model ./model -o ./small --dry-run
    """
    from emo_prune.exports import export, export_all

    if options.selection is None and options.output is None:
        exports = export_all.on(options)
    else:
        exports = (export.on(options),)
    if as_json:
        value = [one.to_dict() for one in exports]
        document = {"schema": "emo-prune/exports/1", "exports": value}
        console.document(readable_json(document))
        return
    for one in exports:
        _print(one)


def _print(exported: Exported) -> None:
    plan, record = exported.plan, exported.record
    share = record.num_bytes / max(record.source_bytes, 1)
    size = f"{format_bytes(record.num_bytes)} of weights, {share:.1%} of the source"
    what = f"{exported.path}: {plan.num_tensors} tensors, {size}"
    if exported.is_written:
        console.result(f"wrote {what}")
        return
    from emo_prune.reports.terminal import plan_table

    console.table(plan_table(plan))
    parents = exported.path.absolute().parents
    there = next(path for path in parents if path.exists())
    free = format_bytes(shutil.disk_usage(there).free)
    console.result(f"would write {what}; {free} free")


command = command_of(ExportOptions, _export)
