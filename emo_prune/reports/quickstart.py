"""What the quickstart's models know, as a table."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import RenderableType

from emo_prune.reports.table import new_table


def quickstart_table(
    worlds: Mapping[str, Mapping[str, float]], keep: str
) -> RenderableType:
    """Return the accuracy of each model on each world's questions, in per cent."""
    table = new_table(
        f"Accuracy on held-out questions, {keep} of the experts kept (chance: 25 %)",
        "questions about",
        "full model",
        "its own experts",
        "the other world's",
        "random experts",
    )
    for world, found in worlds.items():
        cells = (found[name] for name in ("full", "subset", "other", "random"))
        table.add_row(world, *(f"{cell:.1f}" for cell in cells))
    return table
