"""The rows of a sweep as people read them: their names, and which are worth having."""

from __future__ import annotations

from collections.abc import Sequence

from emo_prune.evaluation.figures import metric_name
from emo_prune.evaluation.statistics import CONFIDENCE, two_sided
from emo_prune.sweeps import Row, Sweep


def rows_of(sweep: Sweep) -> list[Row]:
    """Return the full model, its subsets, and the other models."""
    return [sweep.full, *sweep.subsets, *sweep.others]


def row_label(sweep: Sweep, row: Row, *, sized: bool = True) -> str:
    """Return a row's name, `sized` with its calibration where there are several."""
    if row is sweep.full:
        return "full model"
    if row.score is None:
        return row.model
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
    """Return the tasks' short names."""
    return [task.short.replace("_", " ") for task in sweep.tasks]


def smallest(sweep: Sweep) -> Row | None:
    """Return the smallest subset by the score asked for first, as it would be used.

    Not the best of all: the best on these questions is partly so by chance.
    """
    of_first = [row for row in last_size(sweep) if row.score == sweep.scores[0]]
    return min(of_first, key=lambda row: row.num_bytes, default=None)


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
