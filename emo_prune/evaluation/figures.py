"""The figures of an evaluation as rows of text, for every table that shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from emo_prune.evaluation.results import Comparison, Control, Difference, Results

FLIPS = ("lost", "won", "p")
_CONTROLS = {"random": "random", "other-task": "other task"}
_METRICS = {
    "acc": "accuracy",
    "acc_norm": "accuracy, by length",
    "exact_match": "exact match",
    "bits_per_byte": "bits per byte",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A category or the mean over them; `cells` go with `titles`."""

    name: str
    is_mean: bool
    cells: tuple[str, ...]
    flips: tuple[str, ...]


def metric_name(metric: str) -> str:
    """Return what people call a metric of lm-eval; its own name if nothing else."""
    return _METRICS.get(metric, metric)


def titles(results: Results) -> tuple[str, ...]:
    """Return what stands above each cell of a row; the first is its name."""
    own = ("category", results.metric, "stderr", "n")
    comparison = results.comparison
    if not comparison:
        return own
    controls = (_CONTROLS[control.kind] for control in comparison.controls or ())
    return (*own, "baseline", "difference", "95 % interval", "recovery", *controls)


def rows(results: Results) -> Iterator[Row]:
    """Yield a row for each category and, of several, one for the headline mean.

    Accuracies are shown in per cent and their differences in points; bits per byte,
    perplexities and the like as they are. `flips` (lost, won, McNemar's p) is empty
    without a comparison.
    """
    comparison = results.comparison or None
    against = {} if comparison is None else {d.name: d for d in comparison.categories}
    controls = () if comparison is None else comparison.controls or ()
    scale = 100.0 if results.higher_is_better else 1.0
    for category in results.categories:
        name = category.name + ("" if category.in_headline else " (outside the mean)")
        own = _figures(category.value, category.stderr, category.n, scale)
        found = against.get(category.name)
        cells = (
            *own,
            *_difference(found, scale),
            *_controls(controls, category.name, scale),
        )
        yield Row(name, False, cells, _flips(found))
    if len(results.categories) > 1:
        own = _figures(results.value, results.stderr, results.n, scale)
        head = None if comparison is None else comparison.headline
        means = (_figure(control.headline.baseline, scale) for control in controls)
        cells = (*own, *_difference(head, scale), *means)
        yield Row("mean", True, cells, _flips(head))


def against_controls(comparison: Comparison) -> Iterator[str]:
    """Yield a sentence for each control: what the model's own experts are ahead by."""
    for control in comparison.controls or ():
        head, said = control.headline, ""
        if head.interval is not None:
            low, high = head.interval
            said = f", 95 % interval {low:+.2f} to {high:+.2f}"
        yield (
            f"Against {control.name}: {head.difference:+.2f} {comparison.unit}{said}"
        )


def _figures(
    value: float, stderr: float | None, n: int, scale: float
) -> tuple[str, ...]:
    error = "-" if stderr is None else f"{stderr * scale:.2f}"
    return _figure(value, scale), error, f"{n:,}"


def _figure(value: float, scale: float) -> str:
    return f"{value * scale:.2f}"


def _controls(controls: Sequence[Control], name: str, scale: float) -> tuple[str, ...]:
    """Return each control's figure of a category."""
    found = ({d.name: d.baseline for d in one.categories} for one in controls)
    return tuple(
        _figure(values[name], scale) if name in values else "-" for values in found
    )


def _difference(found: Difference | None, scale: float) -> tuple[str, ...]:
    if found is None:
        return ()
    interval = "-"
    if found.interval is not None:
        low, high = found.interval
        interval = f"{low:+.2f} to {high:+.2f}"
    return (
        _figure(found.baseline, scale),
        f"{found.difference:+.2f}",
        interval,
        "-" if found.recovery is None else f"{found.recovery:.1f} %",
    )


def _flips(found: Difference | None) -> tuple[str, ...]:
    if found is None:
        return ()
    if found.mcnemar_p is None:
        return ("-", "-", "-")
    return f"{found.lost:,}", f"{found.won:,}", f"{found.mcnemar_p:.3f}"
