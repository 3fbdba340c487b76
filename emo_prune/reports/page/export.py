"""The section of an export: how much smaller it is, and what it was made from."""

from __future__ import annotations

from collections.abc import Sequence

from emo_prune.exports import ExportRecord
from emo_prune.reports.page.artifacts import Artifact
from emo_prune.reports.page.markup import (
    Markup,
    code,
    details,
    facts,
    number,
    share,
    table,
    tag,
)
from emo_prune.reports.page.section import Section
from emo_prune.units import format_bytes


def export_section(
    artifact: Artifact[ExportRecord], beside: Sequence[object]
) -> Section:
    """Return sizes, what was left out, and the hashes of what it was made from."""
    del beside
    record = artifact.value
    selection, after, before = record.selection, record.num_bytes, record.source_bytes
    left = after / before if before else None
    kept = f"{selection.budget.num_experts} of {selection.model.num_experts} experts"
    part = "" if left is None else f", {100 * left:.1f} % of it"
    return Section(
        title=f"Export: {kept} of {selection.model.name}",
        source=artifact.name,
        result=f"With {kept} in each layer the checkpoint has {format_bytes(after)} of "
        f"weights where {selection.model.name} has {format_bytes(before)}{part}.",
        headline=[
            ("of weights", number(after, format_bytes(after))),
            ("in the source", number(before, format_bytes(before))),
            ("of the source is left", share(left)),
        ],
        body=[
            details("What was left out", _left_out(record)),
            details("Provenance", facts({
                "sha256 of the file": artifact.sha256,
                "layout": record.layout,
                "sha256 of the selection": record.selection_sha256,
                "source": selection.model.to_dict(),
                "versions": record.versions,
            })),
        ],
    )  # fmt: skip


def _left_out(record: ExportRecord) -> Markup:
    rows = [
        *((code(name), "file") for name in record.left_out),
        *((code(name), "tensor") for name in record.dropped_tensors),
    ]
    if not rows:
        return tag("p", "Nothing but the experts that were dropped.")
    return table("Files and tensors", ("name", ""), rows)
