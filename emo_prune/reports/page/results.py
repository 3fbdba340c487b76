"""The sections of evaluations: figures by category, alone and against others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from emo_prune.evaluation import CategoryResult, Difference, Results
from emo_prune.evaluation.figures import metric_name
from emo_prune.evaluation.gates import gate_name, gate_outcome
from emo_prune.reports.page.artifacts import Artifact, Section
from emo_prune.reports.page.comparison import (
    bounds_of,
    columns_of,
    comparison_headline,
    comparison_plot,
    comparison_result,
    controls_part,
    difference_cells,
    gates_headline,
    gates_part,
    interval_of,
    said,
    same_prompts,
    scale_of,
    scaled,
    unit_of,
)
from emo_prune.reports.page.dot_plot import Dot, dot_plot
from emo_prune.reports.page.flips import flips_part
from emo_prune.reports.page.markup import (
    Markup,
    decimals,
    details,
    facts,
    number,
    table,
)
from emo_prune.reports.page.picture import Picture

_BARS = "Bars are normal 95 % intervals of the standard error."

# A category or the mean over them, its label, and the difference from the baseline.
_Figure = tuple[str, CategoryResult | Results, Difference | None]


def results_section(artifact: Artifact[Results], beside: Sequence[object]) -> Section:
    """Return each category's figure, what was lost, and which questions flipped."""
    results = artifact.value
    compared, verdicts = results.comparison or None, results.gates or ()
    body: list[Markup | Picture] = [_plot(results), _table(results)]
    if compared is not None:
        body.insert(1, comparison_plot(compared))
        body += controls_part(compared)
        body += flips_part(results, compared, beside)
    return Section(
        title=f"Evaluation: {results.model} on {results.task}",
        source=artifact.name,
        result=_alone(results)
        if compared is None
        else comparison_result(results, compared, verdicts),
        headline=[
            (unit_of(results), scaled(results.value, results)),
            *gates_headline(verdicts),
            *(comparison_headline(compared) if compared is not None else ()),
            ("questions", number(results.n)),
        ],
        body=[
            *gates_part(verdicts),
            *body,
            details("Every lm-eval task", _tasks(results)),
            details("Every metric", _metrics(results)),
            details("Settings", facts({
                **results.settings.to_dict(),
                "prompts cut on the left": results.num_truncated,
            })),
            details("Provenance", facts({
                "sha256 of the file": artifact.sha256,
                "sha256 of prompts": results.prompts_sha256,
                "sha256 of documents": results.documents_sha256,
                "versions": results.versions,
            })),
        ],
    )  # fmt: skip


def together_sections(found: Sequence[Artifact[Results]]) -> Iterator[Section]:
    """Yield a section for each task that several models have answered alike."""
    groups: dict[tuple[str, ...], list[Artifact[Results]]] = {}
    for one in found:
        groups.setdefault(same_prompts(one.value), []).append(one)
    for group in groups.values():
        if len(group) > 1:
            yield _together(group)


def _together(found: Sequence[Artifact[Results]]) -> Section:
    results = [one.value for one in found]
    first, models = results[0], [one.model for one in results]
    names = [
        f"{one.value.model} ({one.name})"
        if models.count(one.value.model) > 1
        else one.value.model
        for one in found
    ]
    title = f"{unit_of(first).capitalize()} of {len(found)} models on {first.task}"
    scale = scale_of(first)
    dots = [
        Dot(
            label=name,
            text=f"{one.value * scale:.2f}",
            value=one.value * scale,
            interval=interval_of(one, scale),
        )
        for name, one in zip(names, results, strict=True)
    ]
    bounds = bounds_of((one.value for one in results), scale)
    pick = max if first.higher_is_better else min
    place = results.index(pick(results, key=lambda one: one.value))
    return Section(
        title=f"Evaluations together: {len(found)} models on {first.task}",
        source=f"{found[0].name} and {len(found) - 1} more",
        result=f"Of {len(found)} models on {first.task}, {names[place]} does best: "
        f"{_with_interval(results[place])}.",
        headline=[("questions", number(first.n))],
        body=[dot_plot("models", title, dots, bars=_BARS, bounds=bounds),
              _side_by_side(names, results)],
    )  # fmt: skip


def _side_by_side(names: Sequence[str], found: Sequence[Results]) -> Markup:
    compared = next((one.comparison for one in found if one.comparison), None)
    columns = ["model", metric_name(found[0].metric), "stderr"]
    if compared:
        columns += [*columns_of(compared), "gates"]
    rows = []
    for name, one in zip(names, found, strict=True):
        row = [name, scaled(one.value, one), scaled(one.stderr, one)]
        if compared:
            head = one.comparison.headline if one.comparison else None
            row += [*difference_cells(head, compared), _gates(one)]
        rows.append(row)
    return table("One row for each model", columns, rows)


def _gates(results: Results) -> str:
    judged = (f"{gate_name(v)} {gate_outcome(v)}" for v in results.gates or ())
    return ", ".join(judged) or "none"


def _alone(results: Results) -> str:
    metric = f" {metric_name(results.metric)}" if results.higher_is_better else ""
    return (
        f"{results.model} has {_with_interval(results, metric)} on {results.task}, "
        f"{results.n:,} questions."
    )


def _with_interval(results: Results, metric: str = "") -> str:
    words, scale = said(results.value, results) + metric, scale_of(results)
    interval = interval_of(results, scale)
    if interval is None:
        return words
    half, places = (interval[1] - interval[0]) / 2, 2 if scale > 1 else 3
    return f"{words} (95 % interval ±{half:.{places}f})"


def _figures(results: Results) -> Iterator[_Figure]:
    """Yield each category and, of several, their mean."""
    compared = results.comparison or None
    against = {one.name: one for one in compared.categories} if compared else {}
    for category in results.categories:
        outside = "" if category.in_headline else " (outside the mean)"
        yield category.name + outside, category, against.get(category.name)
    if len(results.categories) > 1:
        yield "mean", results, compared.headline if compared else None


def _plot(results: Results) -> Picture:
    scale, found = scale_of(results), list(_figures(results))
    dots, values = [], []
    for label, figure, against in found:
        shown, before = f"{figure.value * scale:.2f}", None
        values.append(figure.value)
        if against is not None:
            before = against.baseline * scale
            shown += f", baseline {before:.2f}"
            values.append(against.baseline)
        dots.append(
            Dot(
                label=label,
                text=shown,
                value=figure.value * scale,
                interval=interval_of(figure, scale),
                other=before,
            )
        )
    hollow = any(dot.other is not None for dot in dots)
    words = "Hollow dots are the baseline." if hollow else ""
    title = f"{unit_of(results).capitalize()} by category"
    bounds = bounds_of(values, scale)
    return dot_plot("categories", title, dots, bars=_BARS, words=words, bounds=bounds)


def _table(results: Results) -> Markup:
    compared = results.comparison or None
    titles = ["category", metric_name(results.metric), "stderr", "n"]
    titles += columns_of(compared) if compared else ()
    rows = []
    for label, figure, against in _figures(results):
        cells = [scaled(figure.value, results), scaled(figure.stderr, results)]
        row: list[object] = [label, *cells, number(figure.n)]
        if compared is not None:
            row += difference_cells(against, compared)
        rows.append(row)
    several = len(results.categories) > 1
    caption = f"{metric_name(results.metric).capitalize()} by category"
    return table(caption, titles, *((rows[:-1], rows[-1:]) if several else (rows,)))


def _tasks(results: Results) -> Markup:
    rows = [
        (
            task.name,
            task.category,
            task.metric,
            number(task.value, f"{task.value:.4f}"),
            decimals(task.stderr, 4),
            number(task.n),
        )
        for task in results.tasks
    ]
    columns = ("lm-eval task", "category", "metric", "value", "stderr", "n")
    return table("lm-eval tasks", columns, rows)


def _metrics(results: Results) -> Markup:
    rows = [
        (task.name, metric, decimals(found, 4))
        for task in results.tasks
        for metric, found in task.metrics.items()
    ]
    return table("All that lm-eval reports", ("lm-eval task", "metric", "value"), rows)
