"""The section of a pretrained checkpoint: its loss, its data, its recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emo_prune.reports.page.artifacts import Artifact
from emo_prune.reports.page.cells import code, decimals, number
from emo_prune.reports.page.checked import checked
from emo_prune.reports.page.line_plot import Frame, Line, Point, line_plot
from emo_prune.reports.page.markup import Markup
from emo_prune.reports.page.picture import Picture
from emo_prune.reports.page.section import Section
from emo_prune.reports.page.tables import details, facts, table
from emo_prune.units import format_bytes

_WHOLE = {"type": "integer", "minimum": 0}
_SOURCE = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "bytes": _WHOLE,
        "sha256": {"type": "string"},
    },
}
_DOMAIN = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "documents": _WHOLE, "tokens": _WHOLE},
    "required": ["name", "documents", "tokens"],
}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "variant": {"type": "string"},
        "recipe": {"type": "object"},
        "data": {
            "type": "object",
            "properties": {
                "sources": {"type": "array", "items": _SOURCE},
                "domains": {"type": "array", "items": _DOMAIN},
            },
            "required": ["sources", "domains"],
        },
        "initialised_from": {"type": ["string", "null"]},
        "steps": _WHOLE,
        "tokens": _WHOLE,
        "final": {"type": "object", "additionalProperties": {"type": "number"}},
        "loss_by_step": {
            "type": "array",
            "items": {
                "type": "array",
                "items": {"type": "number"},
                "minItems": 2,
                "maxItems": 2,
            },
        },
        "versions": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": [
        "variant",
        "recipe",
        "data",
        "initialised_from",
        "steps",
        "tokens",
        "final",
        "loss_by_step",
        "versions",
    ],
}


def pretrained_section(artifact: Artifact, beside: Sequence[Artifact]) -> Section:
    """Return the loss over the steps, and what was trained on what.

    Raises:
        ReportError: it breaks its schema.
    """
    del beside
    value = checked(artifact, _SCHEMA)
    curve = value["loss_by_step"]
    return Section(
        title=f"Pretraining: {value['variant']}",
        source=artifact.name,
        headline=[
            *(
                [("nats a token at the end", decimals(value["final"]["loss"], 3))]
                if "loss" in value["final"]
                else []
            ),
            ("tokens", number(value["tokens"])),
            ("steps", number(value["steps"])),
        ],
        body=[
            *_curve(curve),
            _domains(value["data"]["domains"]),
            details("The last line of metrics", facts(value["final"])),
            details("Sources", _sources(value["data"]["sources"])),
            details("Recipe", facts(value["recipe"])),
            details("Provenance", facts({
                "sha256 of the file": artifact.sha256,
                "initialised from": value["initialised_from"],
                "data": _hashes(value["data"]),
                "versions": value["versions"],
            })),
        ],
    )  # fmt: skip


def _curve(points: Sequence[Sequence[float]]) -> list[Markup | Picture]:
    if not points:
        return []
    line = Line("loss", [Point(step, loss) for step, loss in points])
    rows = [(number(step), decimals(loss, 4)) for step, loss in points]
    title = "Cross-entropy, in nats a token, by step"
    return [
        line_plot("loss", title, [line], Frame(x_title="step")),
        details("The points of the curve", table("Loss", ("step", "loss"), rows)),
    ]


def _domains(domains: Sequence[Mapping[str, Any]]) -> Markup:
    rows = [(d["name"], number(d["documents"]), number(d["tokens"])) for d in domains]
    return table("Trained on", ("domain", "documents", "tokens"), rows)


def _sources(sources: Sequence[Mapping[str, Any]]) -> Markup:
    rows = [
        (
            source.get("name"),
            number(size, format_bytes(size)) if (size := source.get("bytes")) else "",
            code(source.get("sha256")),
        )
        for source in sources
    ]
    return table("Sources", ("name", "size", "sha256"), rows)


def _hashes(data: Mapping[str, Any]) -> dict[str, object]:
    return {k: v for k, v in data.items() if k not in ("sources", "domains")}
