"""The section of a carving: what became of the dense layers, how modular they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emo_prune.reports.carving import ENERGIES, ENERGY_WORDS, TIGHTNESS_WORDS
from emo_prune.reports.page.artifacts import Artifact
from emo_prune.reports.page.cells import NONE, code, decimals, number, share
from emo_prune.reports.page.checked import checked
from emo_prune.reports.page.heat_map import HeatRow, heat_map
from emo_prune.reports.page.line_plot import Frame, Line, Point, line_plot
from emo_prune.reports.page.markup import Markup
from emo_prune.reports.page.picture import Picture
from emo_prune.reports.page.section import Section
from emo_prune.reports.page.tables import details, facts, note, table
from emo_prune.units import format_count

_WHOLE = {"type": "integer", "minimum": 0}
_COUNT = {"type": "integer", "minimum": 1}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1.000001}  # a sum of floats


def _object(properties: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return the schema of an object that has all of some properties."""
    whole = {"type": "object", "properties": properties, "required": [*properties]}
    return whole | more


_LAYER = _object({
    "layer": _WHOLE,
    "tightness": {"type": "number"},
    "ffn_flops_per_token": _COUNT,
    "dense_ffn_flops_per_token": _COUNT,
})  # fmt: skip
_MEASURED_LAYER = _object({
    "layer": _WHOLE,
    "load": {"type": "array", "items": _SHARE, "minItems": 1},
    **dict.fromkeys(ENERGIES, _SHARE),
})  # fmt: skip
_MEASURED = _object({
    "calibration": {"type": "object"},
    "layers": {"type": "array", "items": _MEASURED_LAYER, "minItems": 1},
}, type=["object", "null"])  # fmt: skip
_SCHEMA = _object({
    "model": _object({"name": {"type": "string"}}),
    "num_experts": _COUNT,
    "expert_size": _COUNT,
    "num_experts_per_tok": _COUNT,
    "num_layers": _COUNT,
    "num_parameters": _COUNT,
    "dense_num_parameters": _COUNT,
    "ffn_flops_per_token": _COUNT,
    "dense_ffn_flops_per_token": _COUNT,
    "layers": {"type": "array", "items": _LAYER, "minItems": 1},
    "left_out": {"type": "array", "items": {"type": "string"}},
    "versions": {"type": "object", "additionalProperties": {"type": "string"}},
    "measured": _MEASURED,
})  # fmt: skip
_HOW = ("method", "gate_source", "seed", "num_experts_per_tok", "expert_size")


def carving_section(artifact: Artifact, beside: Sequence[Artifact]) -> Section:
    """Return what was carved, what a token saves and, if measured, how modular it is.

    Raises:
        ReportError: it breaks its schema.
    """
    del beside
    value = checked(artifact, _SCHEMA)
    measured = value["measured"]
    return Section(
        title=f"Carving: {len(value['layers'])} of {value['num_layers']} layers of "
        f"{value['model']['name']} into {value['num_experts']} experts",
        source=artifact.name,
        headline=_headline(value),
        body=[
            *([] if measured is None else _modularity(measured["layers"])),
            _layers(value),
            note(TIGHTNESS_WORDS.capitalize(), "."),
            details("How it was carved", facts({
                **{name: value[name] for name in _HOW if name in value},
                **({} if measured is None else measured["calibration"]),
            })),
            details("Provenance", facts({
                "sha256 of the file": artifact.sha256,
                "dense model": value["model"],
                "parameters before": value["dense_num_parameters"],
                "files left out": [code(name) for name in value["left_out"]],
                "versions": value["versions"],
            })),
        ],
    )  # fmt: skip


def _headline(value: Mapping[str, Any]) -> list[tuple[str, Markup]]:
    found = [
        (f"of {value['num_experts']:,} experts a token",
         number(value["num_experts_per_tok"])),
        ("of the FLOPs of all FFNs",
         share(value["ffn_flops_per_token"] / value["dense_ffn_flops_per_token"])),
        ("parameters", number(value["num_parameters"])),
    ]  # fmt: skip
    if value["measured"] is not None:
        held = _mean(value["measured"]["layers"], "picked_energy")
        found.append(("of the activation energy picked (mean)", share(held)))
    return found


def _mean(layers: Sequence[Mapping[str, Any]], name: str) -> float:
    return float(sum(layer[name] for layer in layers) / len(layers))


def _modularity(layers: Sequence[Mapping[str, Any]]) -> list[Markup | Picture]:
    return [_load(layers), _energy(layers), _energies(layers)]


def _load(layers: Sequence[Mapping[str, Any]]) -> Picture:
    rows = []
    for layer in layers:
        load = layer["load"]
        busiest = max(load) or 1
        rows.append(
            HeatRow(
                layer=layer["layer"],
                num_experts=len(load),
                kept=range(len(load)),
                use=[one / busiest for one in load],
            )
        )
    words = (
        "Rows are layers, columns experts; the stronger, the more tokens pick it, "
        "against the layer's busiest."
    )
    return heat_map("load", "Load of each expert", rows, words)


def _energy(layers: Sequence[Mapping[str, Any]]) -> Picture:
    lines = [
        Line(name, [Point(layer["layer"], layer[key]) for layer in layers])
        for key, name in ENERGIES.items()
    ]
    title = "Share of the activation energy, by layer"
    words = f"{', '.join(ENERGIES.values())}: {ENERGY_WORDS}."
    return line_plot("energy", title, lines, Frame(x_title="layer", words=words))


def _energies(layers: Sequence[Mapping[str, Any]]) -> Markup:
    columns = ("layer", *ENERGIES.values(), "busiest expert", "idlest")
    rows = [
        (
            number(layer["layer"]),
            *(share(layer[key]) for key in ENERGIES),
            share(max(layer["load"])),
            share(min(layer["load"])),
        )
        for layer in layers
    ]
    mean = ("mean", *(share(_mean(layers, key)) for key in ENERGIES), NONE, NONE)
    return table("Energy and load", columns, rows, [mean])


def _layers(value: Mapping[str, Any]) -> Markup:
    columns = ("layer", "tightness", "FFN FLOPs a token", "dense", "share")
    rows = [
        (
            number(layer["layer"]),
            decimals(layer["tightness"], 3),
            *_flops(layer),
        )
        for layer in value["layers"]
    ]
    return table("Carved layers", columns, rows, [("all FFNs", NONE, *_flops(value))])


def _flops(value: Mapping[str, Any]) -> tuple[Markup, Markup, Markup]:
    after, before = value["ffn_flops_per_token"], value["dense_ffn_flops_per_token"]
    return (
        number(after, format_count(after)),
        number(before, format_count(before)),
        share(after / before),
    )
