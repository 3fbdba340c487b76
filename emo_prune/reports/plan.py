"""What an export will write, as tables."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType

from emo_prune.exports import ExportPlan
from emo_prune.reports.table import new_table


def plan_table(plan: ExportPlan) -> RenderableType:
    """Return exactly what an export would write."""
    shards = new_table("files with weights", "file", "tensors", "bytes")
    for shard in plan.shards:
        shards.add_row(shard.name, str(len(shard.tensors)), f"{shard.num_bytes:,}")
    config = new_table("config.json", "key", "source", "export")
    for key, (before, after) in plan.config_changes.items():
        config.add_row(key, _short(before), _short(after))
    return Group(shards, config, _files(plan))


def _files(plan: ExportPlan) -> RenderableType:
    files = new_table("other files", "file", "")
    for file, name in plan.copied.items():
        files.add_row(name, "copied" if name == file else f"copied from {file}")
    for name in plan.written:
        files.add_row(name, "written")
    for name in plan.record.left_out:
        files.add_row(name, "left out: weights or code that are not the export's")
    if plan.record.dropped_tensors:
        count = len(plan.record.dropped_tensors)
        files.add_row(f"{count} tensors", "left out: multi-token prediction layers")
    return files


def _short(value: Any) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 40 else text[:37] + "..."
