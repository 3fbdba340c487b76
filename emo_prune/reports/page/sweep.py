"""The section of a sweep: what every budget and score keeps of each task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from emo_prune.reports.page.artifacts import Artifact, Section
from emo_prune.reports.page.markup import (
    NONE,
    Markup,
    code,
    decimals,
    details,
    facts,
    joined,
    note,
    number,
    share,
    table,
    tag,
)
from emo_prune.reports.page.sweep_plots import sweep_plots
from emo_prune.reports.sweep import (
    best_budget,
    chosen_on,
    half_interval,
    is_loss,
    last_size,
    mean_scale,
    metrics_of,
    on_frontier,
    row_label,
    share_of_bytes,
    sizes_of,
    task_names,
    task_scale,
)
from emo_prune.sweeps import Cell, Row, Sweep
from emo_prune.units import format_bytes

_TINTS = (2.0, 5.0, 15.0)  # points lost, from one tint to the next
_WORDS = (
    "Mean: over tasks, each weighing the same. Drop: the mean difference from the full "
    "model on the same questions. Tinted: lost more than chance explains (the paired "
    "95 % interval lies below zero), the darker the more. Each task's own experts "
    "answer its questions."
)
_FRONTIER = (
    "On the frontier: none here does as well with fewer bytes, or better with as many."
)


def sweep_section(artifact: Artifact[Sweep], beside: Sequence[object]) -> Section:
    """Return the table of budgets and tasks, what size costs, and the frontier."""
    del beside
    sweep = artifact.value
    return Section(
        title=f"Sweep: {sweep.model.name} on {len(sweep.tasks)} tasks",
        source=artifact.name,
        result=_result(sweep),
        headline=list(_headline(sweep)),
        body=[
            _by_task(sweep),
            note(_WORDS),
            *_other_sizes(sweep),
            *sweep_plots(sweep),
            _by_bytes(sweep),
            note(_FRONTIER),
            details("Differences, with their intervals", _differences(sweep)),
            details("Tasks", _tasks(sweep)),
            details("What experts were chosen on", _calibrations(sweep)),
            details("Settings", facts(sweep.settings.to_dict())),
            details("Provenance", facts({
                "sha256 of the file": artifact.sha256,
                "model": sweep.model.to_dict(),
                "versions": sweep.versions,
            })),
        ],
    )  # fmt: skip


def _result(sweep: Sweep) -> str:
    """Say in one sentence which budget keeps within the noise, or trades off best."""
    full, over = sweep.full.mean, f"on average over {len(sweep.tasks)} tasks"
    if full is None:
        return (
            f"There is no figure {over}: some of theirs rise where others fall; the "
            "table has each."
        )
    whole = f"{_said(sweep, full)} {over}"
    found = best_budget(sweep)
    if found is None:
        return f"The full model has {whole}; no subset of its experts was scored."
    row, mean = found
    if is_loss(sweep, mean):
        return (
            f"Every budget loses more than chance explains of the full model's {whole};"
            " the best trade for the bytes that it saves is "
            f"{_budget(sweep, row)}: {_cost(sweep, row, mean)}."
        )
    questions = sum(task.n for task in sweep.tasks)
    return (
        f"{_budget(sweep, row)}, lose nothing that {questions:,} questions can show: "
        f"{_cost(sweep, row, mean)}; the full model has {whole}."
    )


def _budget(sweep: Sweep, row: Row) -> str:
    on = f" on {row.calibration} examples" if len(sizes_of(sweep)) > 1 else ""
    return f"{row.keep} of the experts, chosen by {row.score}{on}"


def _cost(sweep: Sweep, row: Row, mean: Cell) -> str:
    unit = "points" if mean_scale(sweep) > 1 else metrics_of(sweep)
    change = f"{mean.difference or 0.0:+.2f} {unit}"
    if mean.interval is not None:
        change += ", 95 % interval {:+.2f} to {:+.2f}".format(*mean.interval)
    part = 100 * share_of_bytes(sweep, row)
    return f"{_said(sweep, mean)} ({change}) in {part:.1f} % of the bytes"


def _said(sweep: Sweep, cell: Cell) -> str:
    if mean_scale(sweep) > 1:
        return f"{100 * cell.value:.1f} %"
    return f"{cell.value:.3f} {metrics_of(sweep)}"


def _headline(sweep: Sweep) -> Iterator[tuple[str, Markup]]:
    """Yield the full model's mean, and that of the best budget."""
    scale = mean_scale(sweep)
    unit = " %" if scale > 1 else ""
    if sweep.full.mean is not None:
        value = _figure(sweep.full.mean, scale)
        yield f"{metrics_of(sweep)}, full model", joined(value, unit)
    found = best_budget(sweep)
    if found is not None:
        row, mean = found
        value = _figure(mean, scale)
        yield f"{metrics_of(sweep)}, {row_label(sweep, row)}", joined(value, unit)
        unit = "points" if scale > 1 else metrics_of(sweep)
        yield f"{unit} against the full model", _change(mean)
        yield "of the bytes", share(share_of_bytes(sweep, row))
    yield "questions", number(sum(task.n for task in sweep.tasks))


def _by_task(sweep: Sweep) -> Markup:
    """Return a row for each model and a column for each task: the paper's Figure 3.

    Of several sizes of calibration its subsets are of the one asked for last.
    """
    caption = f"{metrics_of(sweep).capitalize()} by budget and task{chosen_on(sweep)}"
    rows = [sweep.full, *last_size(sweep), *sweep.others]
    named = [(row_label(sweep, row, sized=False), row) for row in rows]
    return _accuracy(sweep, caption, named)


def _other_sizes(sweep: Sweep) -> list[Markup]:
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
        drop = NONE if row.mean is None else _change(row.mean)
        rows.append([label, mean, drop, *cells])
    return table(caption, ["experts kept", "mean", "drop", *task_names(sweep)], rows)


def _differences(sweep: Sweep) -> Markup:
    """Return each subset's and model's differences from the full one, and intervals."""
    rows = []
    for row in sweep.rows[1:]:
        cells = [_with_interval(cell) for cell in row.cells]
        mean = NONE if row.mean is None else _with_interval(row.mean)
        left = None if row.mean is None else row.mean.recovery
        recovery = NONE if left is None else number(left, f"{left:.1f} %")
        rows.append([row_label(sweep, row), mean, recovery, *cells])
    columns = ["experts kept", "mean", "recovery", *task_names(sweep)]
    return table("Difference from the full model (95 % interval)", columns, rows)


def _by_bytes(sweep: Sweep) -> Markup:
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


def _sized(sweep: Sweep, row: Row) -> list[object]:
    size = number(row.num_bytes, format_bytes(row.num_bytes))
    part = share(share_of_bytes(sweep, row))
    if row.mean is None:
        return [size, part, NONE, NONE, NONE]
    scale, error = mean_scale(sweep), row.mean.stderr
    if error is None:
        return [size, part, _figure(row.mean, scale), NONE, NONE]
    places, half = (2 if scale > 1 else 3), half_interval(error)
    shown = number(error, f"{error * scale:.{places}f}")
    bounds = number(half, f"±{half * scale:.{places}f}")
    return [size, part, _figure(row.mean, scale), shown, bounds]


def _figure(cell: Cell, scale: float) -> Markup:
    """Return a figure, in per cent where higher is better."""
    shown = f"{cell.value * scale:.1f}" if scale > 1 else f"{cell.value:.3f}"
    return number(cell.value, shown)


def _change(cell: Cell) -> Markup:
    """Return a difference from the full model; a dash for that itself."""
    return decimals(cell.difference, 2, sign=True)


def _tinted(cell: Cell, scale: float) -> Markup:
    shown = _figure(cell, scale)
    tint = _tint(cell) if scale > 1 else 0
    return tag("span", shown, class_=f"loss loss{tint}") if tint else shown


def _tint(cell: Cell) -> int:
    """Return 0 if nothing was surely lost, else the more the darker."""
    if cell.difference is None or cell.interval is None or cell.interval[1] >= 0:
        return 0
    return 1 + sum(-cell.difference >= points for points in _TINTS)


def _with_interval(cell: Cell) -> Markup:
    if cell.interval is None:
        return _change(cell)
    low, high = (decimals(end, 1, sign=True) for end in cell.interval)
    both = joined(_change(cell), " (", low, " to ", high, ")")
    return tag("span", both, class_="together")


def _tasks(sweep: Sweep) -> Markup:
    rows = [
        (
            task.name,
            task.metric,
            number(task.n),
            number(task.num_fewshot),
            "yes" if task.in_mean else "no",
            code(task.prompts_sha256),
            code(task.documents_sha256),
        )
        for task in sweep.tasks
    ]
    columns = ["task", "metric", "questions", "demonstrations", "in the mean"]
    columns += ["sha256 of prompts", "sha256 of documents"]
    return table("Tasks", columns, rows)


def _calibrations(sweep: Sweep) -> Markup:
    rows = [
        (one.task, one.size, number(one.num_examples), number(one.num_tokens))
        for one in sweep.calibrations
    ]
    return table("Calibration", ("task", "asked for", "examples", "tokens"), rows)
