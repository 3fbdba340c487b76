"""What an evaluation found, as a table."""

from __future__ import annotations

from rich.console import RenderableType

from emo_prune.evaluation import Comparison, Results
from emo_prune.evaluation.compare import Difference
from emo_prune.report.table import new_table


def results_table(results: Results, comparison: Comparison | None) -> RenderableType:
    """Return the figure of each category and the headline mean, with the baseline's.

    Accuracies are shown in per cent and their differences in points; bits per byte,
    perplexities and the like as they are.
    """
    titles = ["category", results.metric, "stderr", "n"]
    if comparison is not None:
        titles += ["baseline", "difference", "95 % interval", "recovery"]
    table = new_table(f"{results.model}: {results.task}", *titles)
    against = {} if comparison is None else {d.name: d for d in comparison.categories}
    scale = 100.0 if results.higher_is_better else 1.0
    for category in results.categories:
        name = category.name + ("" if category.in_headline else " (outside the mean)")
        row = [name, *_figures(category.value, category.stderr, category.n, scale)]
        table.add_row(*row, *_difference(against.get(category.name), scale))
    if len(results.categories) > 1:
        table.add_section()
        row = ["mean", *_figures(results.value, results.stderr, results.n, scale)]
        head = comparison.headline if comparison is not None else None
        table.add_row(*row, *_difference(head, scale))
    return table


def _figures(value: float, stderr: float | None, n: int, scale: float) -> list[str]:
    error = "-" if stderr is None else f"{stderr * scale:.2f}"
    return [f"{value * scale:.2f}", error, f"{n:,}"]


def _difference(found: Difference | None, scale: float) -> list[str]:
    if found is None:
        return []
    interval = "-"
    if found.interval is not None:
        low, high = found.interval
        interval = f"{low:+.2f} to {high:+.2f}"
    return [
        f"{found.baseline * scale:.2f}",
        f"{found.difference:+.2f}",
        interval,
        "-" if found.recovery is None else f"{found.recovery:.1f} %",
    ]
