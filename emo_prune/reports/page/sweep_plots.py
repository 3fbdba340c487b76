"""The pictures of a sweep: what a budget costs by score, and what bytes buy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

from emo_prune.reports.page.comparison import bounds_of
from emo_prune.reports.page.dot_plot import Dot, dot_plot
from emo_prune.reports.page.line_plot import Frame, Line, Point, line_plot
from emo_prune.reports.page.picture import Interval, Picture
from emo_prune.reports.sweep import (
    best_budget,
    chosen_on,
    half_interval,
    last_size,
    mean_scale,
    metrics_of,
    on_frontier,
    row_label,
    sizes_of,
    task_names,
    task_scale,
)
from emo_prune.sweeps import Cell, Row, Sweep

_BARS = "Bars are 95 % intervals of the mean."
_PAIRED = (
    "Bars are paired 95 % intervals, question by question: with one that crosses the "
    "line nothing may be lost."
)
_EDGE = "frontier: nothing does better with as few bytes"
_SIZES = ((10**9, "GB"), (10**6, "MB"), (10**3, "KB"))

Place = Callable[[float, Cell], Point]


def sweep_plots(sweep: Sweep) -> list[Picture]:
    """Return the pictures; none if no mean over tasks means anything.

    Of several sizes of calibration, pictures over budgets show the one asked for last.
    """
    full = sweep.full.mean
    if full is None or not last_size(sweep):
        return []
    return [
        *_by_share(sweep, full),
        *_by_bytes(sweep),
        *_by_calibration(sweep, full),
        *_by_task(sweep),
    ]


def _by_share(sweep: Sweep, full: Cell) -> Iterator[Picture]:
    """Yield the mean, and what is lost of it, against the share of experts kept."""
    lines = _by_score(sweep, _value_of(sweep), _share_of)
    if not lines:
        return
    ticks = {
        _log_share(sweep, budget.num_experts): _percent(sweep, budget.num_experts)
        for budget in sweep.budgets
    }
    frame = Frame(
        x_title="experts kept",
        ticks=ticks,
        level=(_value_of(sweep)(0.0, full).y, "full model"),
        bounds=_bounds(sweep),
        bars=_BARS,
    )
    title = f"{_mean(sweep)} by experts kept{chosen_on(sweep)}"
    yield line_plot("share", title, lines, frame)
    frame = Frame(
        x_title="experts kept", ticks=ticks, level=(0.0, "no difference"), bars=_PAIRED
    )
    unit = "points" if mean_scale(sweep) > 1 else metrics_of(sweep)
    title = f"Difference from the full model, in {unit}, by experts kept"
    lines = _by_score(sweep, _change_of, _share_of)
    yield line_plot("drop", title + chosen_on(sweep), lines, frame)


def _by_bytes(sweep: Sweep) -> Iterator[Picture]:
    """Yield the mean against the bytes on disk, with the frontier."""
    value = _value_of(sweep)
    units = (one for one in _SIZES if sweep.full.num_bytes >= one[0])
    size, unit = next(units, (1, "bytes"))
    rows = [sweep.full, *last_size(sweep), *sweep.others]
    lines = [
        *_by_score(sweep, value, lambda _, row: row.num_bytes / size),
        *(
            Line(row_label(sweep, row), [value(row.num_bytes / size, row.mean)])
            for row in (sweep.full, *sweep.others)
            if row.mean is not None
        ),
    ]
    best = [
        value(row.num_bytes / size, row.mean)
        for row in rows
        if row.mean is not None and on_frontier(sweep, row, rows)
    ]
    frame = Frame(
        x_title=f"{unit} of weights",
        whole=False,
        edge=_line(_EDGE, best),
        bounds=_bounds(sweep),
        bars=_BARS,
    )
    title = f"{_mean(sweep)} by size on disk{chosen_on(sweep)}"
    yield line_plot("frontier", title, lines, frame)


def _by_calibration(sweep: Sweep, full: Cell) -> Iterator[Picture]:
    """Yield, for each budget, the mean against the number of examples, if several."""
    if len(sizes_of(sweep)) < 2:
        return
    value = _value_of(sweep)
    counts = _examples(sweep)
    ticks: dict[float, str] = {}
    for size, count in counts.items():
        place = math.log2(count)
        ticks[place] = f"{ticks[place]}, {size}" if place in ticks else str(size)
    frame = Frame(
        x_title="calibration examples",
        ticks=ticks,
        level=(value(0.0, full).y, "full model"),
        bounds=_bounds(sweep),
        bars=_BARS,
    )
    for budget in sweep.budgets:
        lines = []
        for score in (one for one in sweep.scores if one != "random"):
            points = [
                value(math.log2(counts[row.calibration]), row.mean)
                for row in sweep.subsets
                if (row.score, row.keep) == (score, budget.keep)
                and row.mean is not None
                and row.calibration in counts
            ]
            lines.append(_line(score, points))
        title = f"{_mean(sweep)} with {budget.keep} of the experts, by examples"
        found = [line for line in lines if line.points]
        if found:
            yield line_plot(f"examples-{budget.num_experts}", title, found, frame)


def _by_task(sweep: Sweep) -> Iterator[Picture]:
    """Yield each task's figure at the best budget."""
    found = best_budget(sweep)
    if found is None:
        return
    row, _ = found
    dots, values, scales = [], [], []
    for i, name in enumerate(task_names(sweep)):
        scale, cell, whole = task_scale(sweep, i), row.cells[i], sweep.full.cells[i]
        point = _scaled(0.0, cell, scale)
        values += [cell.value, whole.value]
        scales.append(scale)
        dots.append(
            Dot(
                label=name,
                text=f"{point.y:.1f}, full model {whole.value * scale:.1f}",
                value=point.y,
                interval=point.interval,
                other=whole.value * scale,
            )
        )
    metric = f"{metrics_of(sweep).capitalize()}{_unit(sweep)}"
    title = f"{metric} by task with {row_label(sweep, row, sized=False)}"
    yield dot_plot(
        "tasks",
        title + chosen_on(sweep),
        dots,
        bars="Bars are 95 % intervals.",
        words="Hollow dots are the full model.",
        bounds=bounds_of(values, min(scales)),
    )


def _by_score(
    sweep: Sweep, place: Place, across: Callable[[Sweep, Row], float]
) -> list[Line]:
    """Return a line through the budgets of each score."""
    found: dict[str, list[Point]] = {}
    for row in last_size(sweep):
        if row.mean is not None and row.score is not None:
            found.setdefault(row.score, []).append(place(across(sweep, row), row.mean))
    return [_line(score, points) for score, points in found.items()]


def _line(name: str, points: Iterable[Point]) -> Line:
    return Line(name, sorted(points, key=lambda point: point.x))


def _value_of(sweep: Sweep) -> Place:
    scale = mean_scale(sweep)
    return lambda x, cell: _scaled(x, cell, scale)


def _scaled(x: float, cell: Cell, scale: float) -> Point:
    value = cell.value * scale
    if cell.stderr is None:
        return Point(x, value)
    half = half_interval(cell.stderr) * scale
    return Point(x, value, (value - half, value + half))


def _change_of(x: float, cell: Cell) -> Point:
    return Point(x, cell.difference or 0.0, cell.interval)


def _bounds(sweep: Sweep) -> Interval | None:
    means = [row.mean.value for row in sweep.rows if row.mean is not None]
    return bounds_of(means, mean_scale(sweep))


def _share_of(sweep: Sweep, row: Row) -> float:
    return _log_share(sweep, row.num_experts or 1)


def _log_share(sweep: Sweep, num_experts: int) -> float:
    """Return the share kept, halvings being steps."""
    return math.log2(num_experts / sweep.model.num_experts)


def _percent(sweep: Sweep, num_experts: int) -> str:
    return f"{100 * num_experts / sweep.model.num_experts:.3g} %"


def _examples(sweep: Sweep) -> Mapping[str | None, float]:
    """Return how many examples a size was, on average over tasks."""
    return {
        size: sum(counts) / len(counts)
        for size in sizes_of(sweep)
        if (counts := [c.num_examples for c in sweep.calibrations if c.size == size])
        and any(counts)
    }


def _mean(sweep: Sweep) -> str:
    return f"Mean {metrics_of(sweep)}{_unit(sweep)}"


def _unit(sweep: Sweep) -> str:
    return " (%)" if mean_scale(sweep) > 1 else ""
