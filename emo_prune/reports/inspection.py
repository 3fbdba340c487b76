"""What a checkpoint is, as a table."""

from __future__ import annotations

from rich.console import Group, RenderableType

from emo_prune.architectures import Carving, Inspection
from emo_prune.reports.table import new_table
from emo_prune.units import format_bytes, format_count


def inspection_table(inspection: Inspection) -> RenderableType:
    """Return the facts of a checkpoint, and what parts of it would weigh."""
    facts = new_table(inspection.name, "", "")
    for name, value in _rows(inspection).items():
        facts.add_row(name, value)
    sizes = new_table("with fewer experts", "keep", "experts", "on disk", "")
    too_few = "too few for the router"
    for size in inspection.sizes:
        weight = format_bytes(size.num_bytes)
        note = "" if size.routable else too_few
        sizes.add_row(f"{size.share:.1%}", str(size.num_experts), weight, note)
    return Group(facts, sizes)


def _rows(inspection: Inspection) -> dict[str, str]:
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
