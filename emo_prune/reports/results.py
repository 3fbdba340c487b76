"""What an evaluation found, as a table."""

from __future__ import annotations

from rich.console import RenderableType

from emo_prune.evaluation import Comparison, Results
from emo_prune.reports.figures import against_controls, rows, titles
from emo_prune.reports.terminal import new_table


def results_table(results: Results, comparison: Comparison | None) -> RenderableType:
    """Return the figure of each category and the headline mean, with the baseline's.

    Below it, of right or wrong answers: how many flipped, McNemar's exact p, and the
    smallest drop that these questions could show; and what the model is ahead of each
    control by.
    """
    table = new_table(f"{results.model}: {results.task}", *titles(results, comparison))
    for row in rows(results, comparison):
        if row.is_mean:
            table.add_section()
        table.add_row(row.name, *row.cells)
    table.caption = None if comparison is None else _caption(comparison)
    table.caption_justify = "left"
    return table


def _caption(comparison: Comparison) -> str | None:
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
