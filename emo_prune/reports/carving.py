"""What a dense model was carved into, as tables."""

from __future__ import annotations

from rich.console import Group, RenderableType

from emo_prune.carving import CarvingRecord, Measured
from emo_prune.reports.terminal import new_table
from emo_prune.units import format_count

ENERGIES = {
    "picked_energy": "picked",
    "best_energy": "best",
    "fixed_energy": "fixed",
    "even_energy": "even",
}
"""Shares of a measured layer, and what they are called."""

TIGHTNESS_WORDS = (
    "tightness: how much nearer keys are to their expert's centre than to that of all "
    "(0: not at all, 1: they coincide)"
)
ENERGY_WORDS = (
    "share of a token's activation energy in the experts that the gate picks, in the "
    "best as many for the token, in the best as many for all tokens, and in as many if "
    "all were alike"
)


def carving_table(record: CarvingRecord) -> RenderableType:
    """Return what changed and what did not and, if measured, how modular it is."""
    table = new_table(
        f"{record.model.name}: {len(record.layers)} of {record.num_layers} layers "
        f"carved into {record.num_experts} experts of {record.expert_size} neurons, "
        f"top-{record.num_experts_per_tok}, by {record.method}",
        "layer",
        "tightness",
        "FFN FLOPs a token",
        "dense",
        "share",
    )
    for layer in record.layers:
        after, before = layer.ffn_flops_per_token, layer.dense_ffn_flops_per_token
        table.add_row(
            str(layer.layer),
            f"{layer.tightness:.3f}",
            format_count(after),
            format_count(before),
            f"{after / before:.1%}",
        )
    dense, carved = record.dense_ffn_flops_per_token, record.ffn_flops_per_token
    table.add_section()
    table.add_row(
        "all FFNs",
        "",
        format_count(carved),
        format_count(dense),
        f"{carved / dense:.1%}",
    )
    table.caption = (
        f"{record.num_parameters:,} parameters, of {record.dense_num_parameters:,} in "
        f"the source; all FFNs: those not carved included; {TIGHTNESS_WORDS}"
    )
    table.caption_justify = "left"
    if record.measured is None:
        return table
    return Group(table, _measured_table(record.measured))


def _measured_table(measured: Measured) -> RenderableType:
    facts = measured.calibration
    table = new_table(
        f"measured on {facts.num_examples} examples ({facts.num_tokens:,} tokens) of "
        f"{facts.task}",
        "layer",
        *ENERGIES.values(),
        "busiest expert",
        "idlest",
    )
    energies = [
        [getattr(layer, kind) for kind in ENERGIES] for layer in measured.layers
    ]
    for layer, shares in zip(measured.layers, energies, strict=True):
        table.add_row(
            str(layer.layer),
            *(f"{share:.1%}" for share in shares),
            f"{max(layer.load):.1%}",
            f"{min(layer.load):.1%}",
        )
    table.add_section()
    means = [sum(column) / len(column) for column in zip(*energies, strict=True)]
    table.add_row("mean", *(f"{mean:.1%}" for mean in means), "", "")
    table.caption = (
        f"{ENERGY_WORDS}; busiest, idlest: share of tokens that pick the expert"
    )
    table.caption_justify = "left"
    return table
