"""A sweep as people read it: its rows' names, which are worth having, and tables."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rich.console import Group, RenderableType
from rich.table import Table

from emo_prune.evaluation.figures import metric_name
from emo_prune.evaluation.statistics import CONFIDENCE, two_sided
from emo_prune.reports.terminal import new_table
from emo_prune.sweeps import Cell, Row, Sweep
from emo_prune.units import format_bytes

_COLUMNS = 6  # side by side; more tasks go into a table below


def row_label(sweep: Sweep, row: Row, *, sized: bool = True) -> str:
    """Return a row's name, `sized` with its calibration where there are several."""
    if row is sweep.full:
        return "full model"
    if row.score is None:
        alike = [one for one in sweep.others if one.model == row.model]
        which = next((n for n, one in enumerate(alike, 1) if one is row), 1)
        return row.model if len(alike) < 2 else f"{row.model} ({which})"
    several = sized and len(sizes_of(sweep)) > 1
    examples = f", {row.calibration} examples" if several else ""
    return f"{row.keep} {row.score}{examples}"


def sizes_of(sweep: Sweep) -> list[str]:
    """Return the sizes of calibration, in the order asked for."""
    sizes = (row.calibration for row in sweep.subsets if row.calibration is not None)
    return list(dict.fromkeys(sizes))


def last_size(sweep: Sweep) -> list[Row]:
    """Return the subsets chosen on the size of calibration that was asked for last."""
    size = sizes_of(sweep)[-1:]
    return [row for row in sweep.subsets if [row.calibration] == size]


def task_names(sweep: Sweep) -> list[str]:
    """Return the tasks' short names; whole ones where short ones are the same."""
    shorts = [task.short for task in sweep.tasks]
    return [
        (task.name if shorts.count(task.short) > 1 else task.short).replace("_", " ")
        for task in sweep.tasks
    ]


def best_budget(sweep: Sweep) -> tuple[Row, Cell] | None:
    """Return the subset to take by the score asked for first, and its mean.

    That is the smallest that loses no more than chance explains; where all do, the one
    that loses least for the bytes it saves. Not the best of all scores: the best on
    these questions is partly so by chance. None without subsets or a mean over tasks.
    """
    rows = [
        (row, row.mean)
        for row in sorted(last_size(sweep), key=lambda row: row.num_bytes)
        if row.mean is not None and row.score == sweep.scores[0]
    ]
    kept = (one for one in rows if not is_loss(sweep, one[1]))
    least = min(rows, key=lambda one: _lost_for_bytes(sweep, *one), default=None)
    return next(kept, least)


def is_loss(sweep: Sweep, mean: Cell) -> bool:
    """Tell whether more is lost than chance explains; without an interval, anything."""
    low, high = mean.interval or ((mean.difference or 0.0,) * 2)
    return high < 0 if mean_scale(sweep) > 1 else low > 0


def share_of_bytes(sweep: Sweep, row: Row) -> float:
    """Return what part of the full model's bytes a row has."""
    return row.num_bytes / max(sweep.full.num_bytes, 1)


def _lost_for_bytes(sweep: Sweep, row: Row, mean: Cell) -> float:
    saved = 1 - share_of_bytes(sweep, row)
    return abs(mean.difference or 0.0) / saved if saved > 0 else float("inf")


def chosen_on(sweep: Sweep) -> str:
    """Return what `last_size` was chosen on, for a title, if there are other sizes."""
    sizes = sizes_of(sweep)
    return f", chosen on {sizes[-1]} examples" if len(sizes) > 1 else ""


def metrics_of(sweep: Sweep) -> str:
    """Return what the tasks' metrics are called."""
    return "/".join(dict.fromkeys(metric_name(task.metric) for task in sweep.tasks))


def task_scale(sweep: Sweep, column: int) -> float:
    """Return what a task's figures are multiplied by: accuracies are in per cent."""
    return 100.0 if sweep.tasks[column].higher_is_better else 1.0


def mean_scale(sweep: Sweep) -> float:
    """Return what means over tasks are multiplied by."""
    counted = (i for i, task in enumerate(sweep.tasks) if task.in_mean)
    return task_scale(sweep, next(counted, 0))


def half_interval(stderr: float) -> float:
    """Return half of the 95 % interval of a figure with this standard error."""
    return two_sided(CONFIDENCE) * stderr


def on_frontier(sweep: Sweep, row: Row, rows: Sequence[Row]) -> bool:
    """Tell whether no row that is no larger does better, and none smaller as well."""
    if row.mean is None:
        return False
    sign = 1.0 if mean_scale(sweep) > 1 else -1.0
    mine = (sign * row.mean.value, -row.num_bytes)
    for other in rows:
        if other.mean is None:
            continue
        theirs = (sign * other.mean.value, -other.num_bytes)
        if theirs != mine and all(b >= a for a, b in zip(mine, theirs, strict=True)):
            return False
    return True


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
        f"{sweep.model.name}: {metrics_of(sweep)} by budget and task"
        + ("" if first else " (continued)"),
        "experts kept",
        *(("mean", "drop") if first else ()),
        *names,
    )
    previous = None
    for row in sweep.rows:
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
        f"{sweep.model.name}: memory and {metrics_of(sweep)}",
        "model",
        "on disk",
        "of full",
        "mean",
        "95 %",
        "",
    )
    rows = sorted(sweep.rows, key=lambda row: row.num_bytes)
    for row in rows:
        table.add_row(
            row_label(sweep, row),
            format_bytes(row.num_bytes),
            f"{share_of_bytes(sweep, row):.1%}",
            _value(sweep, row.mean),
            _uncertainty(sweep, row.mean),
            "*" if on_frontier(sweep, row, rows) else "",
        )
    table.caption = "*: none here does as well with fewer bytes, or better with as many"
    table.caption_justify = "left"
    return table


def _section(row: Row) -> tuple[str | None, str | None]:
    return row.score, row.calibration


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
