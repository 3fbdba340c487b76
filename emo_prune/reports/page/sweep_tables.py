"""The tables of a sweep: by budget and task, differences, and by size on disk."""

from __future__ import annotations

from collections.abc import Sequence

from emo_prune.reports.page.cells import NONE, decimals, number, share
from emo_prune.reports.page.markup import Markup, joined, tag
from emo_prune.reports.page.tables import details, table
from emo_prune.reports.swept import (
    chosen_on,
    half_interval,
    last_size,
    mean_scale,
    metrics_of,
    on_frontier,
    row_label,
    rows_of,
    task_names,
    task_scale,
)
from emo_prune.sweeps.document import Cell, Row, Sweep
from emo_prune.units import format_bytes

_TINTS = (2.0, 5.0, 15.0)  # points lost, from one tint to the next


def accuracy_table(sweep: Sweep) -> Markup:
    """Return a row for each model and a column for each task: the paper's Figure 3.

    Of several sizes of calibration its subsets are of the one asked for last.
    """
    caption = f"{metrics_of(sweep).capitalize()} by budget and task{chosen_on(sweep)}"
    rows = [sweep.full, *last_size(sweep), *sweep.others]
    named = [(row_label(sweep, row, sized=False), row) for row in rows]
    return _accuracy(sweep, caption, named)


def other_sizes(sweep: Sweep) -> list[Markup]:
    """Return the rows of the other sizes of calibration, folded, if there are any."""
    last = last_size(sweep)
    named = [(row_label(sweep, row), row) for row in sweep.subsets if row not in last]
    if not named:
        return []
    caption = f"{metrics_of(sweep).capitalize()} by budget and task"
    whole = _accuracy(sweep, caption, named)
    return [details("The other sizes of calibration", whole)]


def _accuracy(sweep: Sweep, caption: str, named: Sequence[tuple[str, Row]]) -> Markup:
    rows = []
    for label, row in named:
        cells = [
            _tinted(cell, task_scale(sweep, i)) for i, cell in enumerate(row.cells)
        ]
        mean = NONE if row.mean is None else _tinted(row.mean, mean_scale(sweep))
        drop = NONE if row.mean is None else change(row.mean)
        rows.append([label, mean, drop, *cells])
    return table(caption, ["experts kept", "mean", "drop", *task_names(sweep)], rows)


def difference_table(sweep: Sweep) -> Markup:
    """Return each subset's and model's differences from the full one, and intervals."""
    rows = []
    for row in rows_of(sweep)[1:]:
        cells = [_with_interval(cell) for cell in row.cells]
        mean = NONE if row.mean is None else _with_interval(row.mean)
        left = None if row.mean is None else row.mean.recovery
        recovery = NONE if left is None else number(left, f"{left:.1f} %")
        rows.append([row_label(sweep, row), mean, recovery, *cells])
    columns = ["experts kept", "mean", "recovery", *task_names(sweep)]
    return table("Difference from the full model (95 % interval)", columns, rows)


def frontier_table(sweep: Sweep) -> Markup:
    """Return models by their bytes, and which of them are on the frontier.

    Of several sizes of calibration its subsets are of the one asked for last.
    """
    rows = [sweep.full, *last_size(sweep), *sweep.others]
    rows.sort(key=lambda row: row.num_bytes)
    columns = (
        "model",
        "on disk",
        "of full",
        "mean",
        "stderr",
        "95 %",
        "on the frontier",
    )
    found = [
        [
            row_label(sweep, row, sized=False),
            *_sized(sweep, row),
            "yes" if on_frontier(sweep, row, rows) else "no",
        ]
        for row in rows
    ]
    caption = f"Memory and {metrics_of(sweep)}{chosen_on(sweep)}"
    return table(caption, columns, found)


def figure(cell: Cell, scale: float) -> Markup:
    """Return a figure, in per cent where higher is better."""
    shown = f"{cell.value * scale:.1f}" if scale > 1 else f"{cell.value:.3f}"
    return number(cell.value, shown)


def change(cell: Cell) -> Markup:
    """Return a difference from the full model; a dash for that itself."""
    return decimals(cell.difference, 2, sign=True)


def _tinted(cell: Cell, scale: float) -> Markup:
    shown = figure(cell, scale)
    tint = _tint(cell) if scale > 1 else 0
    return tag("span", shown, class_=f"loss loss{tint}") if tint else shown


def _tint(cell: Cell) -> int:
    """Return 0 if nothing was surely lost, else the more the darker."""
    if cell.difference is None or cell.interval is None or cell.interval[1] >= 0:
        return 0
    return 1 + sum(-cell.difference >= points for points in _TINTS)


def _with_interval(cell: Cell) -> Markup:
    if cell.interval is None:
        return change(cell)
    low, high = (decimals(end, 1, sign=True) for end in cell.interval)
    both = joined(change(cell), " (", low, " to ", high, ")")
    return tag("span", both, class_="together")


def _sized(sweep: Sweep, row: Row) -> list[object]:
    size = number(row.num_bytes, format_bytes(row.num_bytes))
    part = share(row.num_bytes / sweep.full.num_bytes)
    if row.mean is None:
        return [size, part, NONE, NONE, NONE]
    scale, error = mean_scale(sweep), row.mean.stderr
    if error is None:
        return [size, part, figure(row.mean, scale), NONE, NONE]
    places, half = (2 if scale > 1 else 3), half_interval(error)
    shown = number(error, f"{error * scale:.{places}f}")
    bounds = number(half, f"±{half * scale:.{places}f}")
    return [size, part, figure(row.mean, scale), shown, bounds]
