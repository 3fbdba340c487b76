"""What commands print, as tables: inspections, selections, results, export plans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table

from emo_prune.units import format_bytes, format_count

if TYPE_CHECKING:  # each command imports what it prints, and nothing else
    from emo_prune.architectures import Carving, Inspection
    from emo_prune.evaluation import Comparison, Results
    from emo_prune.exports import ExportPlan
    from emo_prune.selection import Selection
from emo_prune.carving import CarvingRecord, Measured


def new_table(title: str, *columns: str) -> Table:
    """Return an empty table: a bold title, first column left, the others right.

    What is too long for its column goes on in the next line: nothing is cut off.
    """
    table = Table(title=title, title_justify="left", title_style="bold")
    for position, column in enumerate(columns):
        table.add_column(
            column, justify="left" if position == 0 else "right", overflow="fold"
        )
    return table


def inspection_table(inspection: Inspection) -> RenderableType:
    """Return the facts of a checkpoint, and what parts of it would weigh."""
    facts = new_table(inspection.name, "", "")
    for name, value in _facts_of(inspection).items():
        facts.add_row(name, value)
    sizes = new_table("with fewer experts", "keep", "experts", "on disk", "")
    too_few = "too few for the router"
    for size in inspection.sizes:
        weight = format_bytes(size.num_bytes)
        note = "" if size.routable else too_few
        sizes.add_row(f"{size.share:.1%}", str(size.num_experts), weight, note)
    return Group(facts, sizes)


def _facts_of(inspection: Inspection) -> dict[str, str]:
    dense = inspection.num_layers - inspection.num_moe_layers
    groups = f", in {inspection.num_groups} groups" if inspection.num_groups > 1 else ""
    share = inspection.num_expert_bytes / max(inspection.num_bytes, 1)
    parameters = format_count(inspection.num_parameters)
    active = format_count(inspection.num_active_parameters)
    weight = format_bytes(inspection.num_bytes)
    return {
        "model type": inspection.model_type,
        "revision": inspection.revision or "unknown",
        "layers": f"{inspection.num_layers} ({inspection.num_moe_layers} with experts, "
        f"{dense} dense)",
        "experts": f"{inspection.num_experts} a layer, {_shared(inspection)}",
        "router": f"top-{inspection.num_experts_per_tok}{groups}",
        **_carving(inspection.carving),
        "weights": ", ".join(inspection.dtypes),
        "quantisation": inspection.quantization or "none",
        "parameters": f"{parameters}, {active} active a token",
        "size": f"{weight} in {inspection.num_shards} files",
        "in experts": f"{format_bytes(inspection.num_expert_bytes)} ({share:.1%})",
        "the rest": format_bytes(inspection.num_bytes - inspection.num_expert_bytes),
    }


def _carving(carving: Carving | None) -> dict[str, str]:
    if carving is None:
        return {}
    layers = ", ".join(map(str, carving.layers))
    scores = {"inter": "activations", "up": "rows of the up matrix"}
    gate = scores.get(carving.gate_source, "keys")
    return {
        "carved from": f"a dense {carving.dense_type}: layers {layers}, "
        f"{carving.neurons_per_expert} neurons an expert",
        "gate": f"the mean of an expert's {gate}; no parameters",
    }


def _shared(inspection: Inspection) -> str:
    if inspection.num_separate_shared_experts:
        return f"and {inspection.num_separate_shared_experts} shared beside them"
    return f"{inspection.num_shared_experts} of them shared"


def selection_table(selection: Selection) -> RenderableType:
    """Return, per layer, how concentrated the routing is and what the kept hold."""
    model, budget = selection.model, selection.budget
    calibration = selection.calibration
    table = new_table(
        f"{model.name}: {budget.num_experts} of {model.num_experts} experts, "
        f"by {selection.method.score} on {calibration.num_examples} examples "
        f"({calibration.num_tokens:,} tokens) of {calibration.task}",
        "layer",
        "effective experts",
        "kept picks",
        "kept mass",
        "stability",
    )
    for layer in selection.layers:
        table.add_row(
            str(layer.layer),
            f"{layer.effective_experts:.1f}",
            f"{layer.retained_picks:.1%}",
            f"{layer.retained_mass:.1%}",
            "-" if layer.stability is None else f"{layer.stability:.2f}",
        )
    count = len(selection.layers)
    table.add_section()
    table.add_row(
        "mean",
        f"{sum(x.effective_experts for x in selection.layers) / count:.1f}",
        f"{sum(x.retained_picks for x in selection.layers) / count:.1%}",
        f"{sum(x.retained_mass for x in selection.layers) / count:.1%}",
        "",
    )
    table.caption = (
        "effective experts: exp(entropy) of the routed picks; kept picks, kept mass: "
        "share of them the kept experts hold; stability: overlap of the choices from "
        "two halves of the examples"
    )
    table.caption_justify = "left"
    return table


def results_table(results: Results) -> RenderableType:
    """Return the figure of each category and the headline mean, with the baseline's.

    Below it, of right or wrong answers: how many flipped, McNemar's exact p, and the
    smallest drop that these questions could show; and what the model is ahead of each
    control by.
    """
    from emo_prune.evaluation.figures import rows, titles

    table = new_table(f"{results.model}: {results.task}", *titles(results))
    for row in rows(results):
        if row.is_mean:
            table.add_section()
        table.add_row(row.name, *row.cells)
    table.caption = _caption(results.comparison) if results.comparison else None
    table.caption_justify = "left"
    return table


def _caption(comparison: Comparison) -> str | None:
    from emo_prune.evaluation.figures import against_controls

    head = comparison.headline
    said = []
    if head.mcnemar_p is not None:
        said.append(
            f"{head.lost:,} questions lost, {head.won:,} won; McNemar's exact p "
            f"{head.mcnemar_p:.3f}"
        )
    if head.min_detectable_drop is not None:
        said.append(
            "smallest drop seen with 80 % power: "
            f"{head.min_detectable_drop:.2f} {comparison.unit}"
        )
    said += against_controls(comparison)
    return "\n".join(said) or None


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


def _short(value: object) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


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
