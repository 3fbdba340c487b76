"""What was chosen, as a table."""

from __future__ import annotations

from rich.console import RenderableType

from emo_prune.reports.table import new_table
from emo_prune.selection import Selection


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
