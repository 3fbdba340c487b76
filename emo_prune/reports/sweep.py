"""What a sweep found, as tables: accuracy by budget and task, and by size on disk."""

from __future__ import annotations

from itertools import pairwise

from rich.console import Group, RenderableType
from rich.table import Table

from emo_prune.reports.swept import (
    half_interval,
    mean_scale,
    on_frontier,
    row_label,
    rows_of,
    task_names,
    task_scale,
)
from emo_prune.reports.table import new_table
from emo_prune.sweeps import Cell, Row, Sweep
from emo_prune.units import format_bytes

_COLUMNS = 6  # side by side; more tasks go into a table below


def sweep_tables(sweep: Sweep) -> RenderableType:
    """Return the table of budgets and tasks, and that of bytes and accuracy."""
    total = len(sweep.tasks)
    starts = [0, *range(_COLUMNS - 2, total, _COLUMNS)]  # mean and drop come first
    parts = [_accuracy(sweep, range(*ends)) for ends in pairwise([*starts, total])]
    return Group(*parts, _frontier(sweep))


def _accuracy(sweep: Sweep, columns: range) -> Table:
    """Return some tasks' columns; the mean and what it lost come with the first."""
    first = columns.start == 0
    names = [task_names(sweep)[i] for i in columns]
    table = new_table(
        f"{sweep.model.name}: {_metrics(sweep)} by budget and task"
        + ("" if first else " (continued)"),
        "experts kept",
        *(("mean", "drop") if first else ()),
        *names,
    )
    previous = None
    for row in rows_of(sweep):
        if previous is not None and _section(row) != _section(previous):
            table.add_section()
        head = [_value(sweep, row.mean), _drop(row.mean)] if first else []
        cells = [_figure(row.cells[i], task_scale(sweep, i)) for i in columns]
        table.add_row(row_label(sweep, row), *head, *cells)
        previous = row
    if first:
        table.caption = (
            "mean: over tasks, each weighing the same; drop: the mean paired "
            "difference from the full model, with its 95 % interval"
        )
        table.caption_justify = "left"
    return table


def _frontier(sweep: Sweep) -> Table:
    """Return every model by its bytes; those that nothing smaller equals are marked."""
    table = new_table(
        f"{sweep.model.name}: memory and {_metrics(sweep)}",
        "model",
        "on disk",
        "of full",
        "mean",
        "95 %",
        "",
    )
    rows = sorted(rows_of(sweep), key=lambda row: row.num_bytes)
    for row in rows:
        table.add_row(
            row_label(sweep, row),
            format_bytes(row.num_bytes),
            f"{row.num_bytes / sweep.full.num_bytes:.1%}",
            _value(sweep, row.mean),
            _uncertainty(sweep, row.mean),
            "*" if on_frontier(sweep, row, rows) else "",
        )
    table.caption = "*: none here does as well with fewer bytes, or better with as many"
    table.caption_justify = "left"
    return table


def _section(row: Row) -> tuple[str | None, str | None]:
    return row.score, row.calibration


def _metrics(sweep: Sweep) -> str:
    return "/".join(dict.fromkeys(task.metric for task in sweep.tasks))


def _figure(cell: Cell, scale: float) -> str:
    return f"{cell.value * scale:.1f}" if scale > 1 else f"{cell.value:.3f}"


def _value(sweep: Sweep, mean: Cell | None) -> str:
    return "-" if mean is None else _figure(mean, mean_scale(sweep))


def _uncertainty(sweep: Sweep, mean: Cell | None) -> str:
    if mean is None or mean.stderr is None:
        return "-"
    return f"±{half_interval(mean.stderr) * mean_scale(sweep):.2f}"


def _drop(mean: Cell | None) -> str:
    if mean is None or mean.difference is None:
        return ""
    if mean.interval is None:
        return f"{mean.difference:+.2f}"
    return f"{mean.difference:+.2f} ±{(mean.interval[1] - mean.interval[0]) / 2:.2f}"
