"""The section of an export: how much smaller it is, and what it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emo_prune.errors import ReportError
from emo_prune.reports.page.artifacts import Artifact
from emo_prune.reports.page.cells import code, number, share
from emo_prune.reports.page.checked import checked
from emo_prune.reports.page.markup import Markup, tag
from emo_prune.reports.page.section import Section
from emo_prune.reports.page.tables import details, facts, table
from emo_prune.selection import selection_from_json
from emo_prune.units import format_bytes

_NAMES = {"type": "array", "items": {"type": "string"}}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "layout": {"type": "string"},
        "num_bytes": {"type": "integer", "minimum": 0},
        "source_bytes": {"type": "integer", "minimum": 1},
        "left_out": _NAMES,
        "dropped_tensors": _NAMES,
        "selection_sha256": {"type": "string"},
        "selection": {"type": "object"},
        "parent": {"type": ["object", "null"]},
        "versions": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": [
        "layout",
        "num_bytes",
        "source_bytes",
        "left_out",
        "dropped_tensors",
        "selection_sha256",
        "selection",
        "parent",
    ],
}


def export_section(artifact: Artifact, beside: Sequence[Artifact]) -> Section:
    """Return sizes, what was left out, and the hashes of the road here.

    Raises:
        BadSelection, ReportError: it breaks its schema, or was edited.
    """
    del beside
    value = checked(artifact, _SCHEMA)
    selection = selection_from_json(value["selection"], artifact.name)
    if selection.sha256 != value["selection_sha256"]:
        raise ReportError(
            "the selection of an export was edited after it was written",
            where=artifact.name,
            got=selection.sha256,
            expected=value["selection_sha256"],
            hint="run `emo-prune export --force` with the selection you want",
        )
    after, before = value["num_bytes"], value["source_bytes"]
    return Section(
        title=f"Export: {selection.budget['num_experts']} of "
        f"{selection.model['num_experts']} experts of {selection.model['name']}",
        source=artifact.name,
        headline=[
            ("of weights", number(after, format_bytes(after))),
            ("in the source", number(before, format_bytes(before))),
            ("of the source is left", share(after / before)),
        ],
        body=[
            details("What was left out", _left_out(value)),
            details("Provenance", facts({
                "sha256 of the file": artifact.sha256,
                "layout": value["layout"],
                "sha256 of the selection": value["selection_sha256"],
                "source": dict(selection.model),
                "versions": value.get("versions", {}),
            })),
        ],
    )  # fmt: skip


def _left_out(value: Any) -> Markup:
    rows = [
        *((code(name), "file") for name in value["left_out"]),
        *((code(name), "tensor") for name in value["dropped_tensors"]),
    ]
    if not rows:
        return tag("p", "Nothing but the experts that were dropped.")
    return table("Files and tensors", ("name", ""), rows)
