"""The section of a carving: what became of the dense layers, how modular they are."""

from __future__ import annotations

from collections.abc import Sequence

from emo_prune.carving import CarvedLayer, CarvingRecord
from emo_prune.facts import Modularity
from emo_prune.reports.page.artifacts import Artifact, Section
from emo_prune.reports.page.heat_map import HeatRow, heat_map
from emo_prune.reports.page.line_plot import Frame, Line, Point, line_plot
from emo_prune.reports.page.markup import (
    NONE,
    Markup,
    code,
    decimals,
    details,
    facts,
    note,
    number,
    share,
    table,
)
from emo_prune.reports.page.picture import Picture
from emo_prune.reports.terminal import ENERGIES, ENERGY_WORDS, TIGHTNESS_WORDS
from emo_prune.units import format_count


def carving_section(
    artifact: Artifact[CarvingRecord], beside: Sequence[object]
) -> Section:
    """Return what was carved, what a token saves and, if known, how modular it is."""
    del beside
    record = artifact.value
    measured = record.measured
    carved = (
        f"{len(record.layers)} of {record.num_layers} layers of {record.model.name}"
    )
    part = record.ffn_flops_per_token / record.dense_ffn_flops_per_token
    headline = [
        (f"of {record.num_experts:,} experts a token",
         number(record.num_experts_per_tok)),
        ("of the FLOPs of all FFNs", share(part)),
        ("parameters", number(record.num_parameters)),
    ]  # fmt: skip
    result = (
        f"{carved} are {record.num_experts} experts each, of which a token picks "
        f"{record.num_experts_per_tok}: {100 * part:.1f} % of the FLOPs of all FFNs"
    )
    if measured is not None:
        held = _mean(measured.layers, "picked_energy")
        headline.append(("of the activation energy picked (mean)", share(held)))
        result += f", and {100 * held:.1f} % of a token's activation energy"
    return Section(
        title=f"Carving: {carved} into {record.num_experts} experts",
        source=artifact.name,
        result=f"{result}.",
        headline=headline,
        body=[
            *([] if measured is None else _modularity(measured.layers)),
            _layers(record),
            note(TIGHTNESS_WORDS.capitalize(), "."),
            details("How it was carved", facts({
                "method": record.method,
                "gate_source": record.gate_source,
                "seed": record.seed,
                "num_experts_per_tok": record.num_experts_per_tok,
                "expert_size": record.expert_size,
                **({} if measured is None else measured.calibration.to_dict()),
            })),
            details("Provenance", facts({
                "sha256 of the file": artifact.sha256,
                "dense model": record.model.to_dict(),
                "parameters before": record.dense_num_parameters,
                "files left out": [code(name) for name in record.left_out],
                "versions": record.versions,
            })),
        ],
    )  # fmt: skip


def _mean(layers: Sequence[Modularity], energy: str) -> float:
    found: list[float] = [getattr(layer, energy) for layer in layers]
    return sum(found) / len(found)


def _modularity(layers: Sequence[Modularity]) -> list[Markup | Picture]:
    return [_load(layers), _energy(layers), _energies(layers)]


def _load(layers: Sequence[Modularity]) -> Picture:
    rows = []
    for layer in layers:
        busiest = max(layer.load) or 1
        rows.append(
            HeatRow(
                layer=layer.layer,
                num_experts=len(layer.load),
                kept=range(len(layer.load)),
                use=[one / busiest for one in layer.load],
            )
        )
    words = (
        "Rows are layers, columns experts; the stronger, the more tokens pick it, "
        "against the layer's busiest."
    )
    return heat_map("load", "Load of each expert", rows, words)


def _energy(layers: Sequence[Modularity]) -> Picture:
    lines = [
        Line(name, [Point(layer.layer, getattr(layer, key)) for layer in layers])
        for key, name in ENERGIES.items()
    ]
    title = "Share of the activation energy, by layer"
    words = f"{', '.join(ENERGIES.values())}: {ENERGY_WORDS}."
    return line_plot("energy", title, lines, Frame(x_title="layer", words=words))


def _energies(layers: Sequence[Modularity]) -> Markup:
    columns = ("layer", *ENERGIES.values(), "busiest expert", "idlest")
    rows = [
        (
            number(layer.layer),
            *(share(getattr(layer, key)) for key in ENERGIES),
            share(max(layer.load)),
            share(min(layer.load)),
        )
        for layer in layers
    ]
    mean = ("mean", *(share(_mean(layers, key)) for key in ENERGIES), NONE, NONE)
    return table("Energy and load", columns, rows, [mean])


def _layers(record: CarvingRecord) -> Markup:
    columns = ("layer", "tightness", "FFN FLOPs a token", "dense", "share")
    rows = [
        (number(layer.layer), decimals(layer.tightness, 3), *_flops(layer))
        for layer in record.layers
    ]
    return table("Carved layers", columns, rows, [("all FFNs", NONE, *_flops(record))])


def _flops(value: CarvedLayer | CarvingRecord) -> tuple[Markup, Markup, Markup]:
    after, before = value.ffn_flops_per_token, value.dense_ffn_flops_per_token
    return (
        number(after, format_count(after)),
        number(before, format_count(before)),
        share(after / before),
    )
