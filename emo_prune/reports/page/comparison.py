"""Figures of results as they are shown, and a model against others: gates, controls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from emo_prune.evaluation import (
    CategoryResult,
    Comparison,
    Control,
    Difference,
    Results,
    Verdict,
)
from emo_prune.evaluation.figures import metric_name
from emo_prune.evaluation.gates import gate_name, gate_outcome, gate_sight
from emo_prune.evaluation.statistics import CONFIDENCE, two_sided
from emo_prune.reports.page.dot_plot import Dot, dot_plot
from emo_prune.reports.page.markup import (
    NONE,
    Markup,
    decimals,
    joined,
    note,
    number,
    table,
    tag,
)
from emo_prune.reports.page.picture import Interval, Picture

PER_CENT = (0.0, 100.0)  # what an accuracy can be
_POINTS = (-100.0, 100.0)  # what a difference of two can be
_BARS = (
    "Bars are paired 95 % intervals, question by question: with one that crosses the "
    "line at zero there may be no difference."
)
_WORDS = (
    "Lost, won: questions that only the baseline, or only this model, has right; "
    "McNemar's exact p is the chance of so uneven a split if both were equally likely. "
    "Smallest drop seen: by a paired test at 95 % with 80 % power on these questions."
)
_CONTROLS = (
    "How much the chosen experts are ahead of others, on the same questions. Random "
    "choices are averaged question by question."
)
_BLIND = (
    "A gate that cannot see the drop it guards against proves nothing by passing: "
    "score more questions."
)
_GATES = ("gate", "outcome", "found", "asked", "judged", "limit", "sight")


def same_prompts(results: Results) -> tuple[str, ...]:
    """Return what results agree in that answered the same prompts."""
    return (
        results.task,
        results.metric,
        results.prompts_sha256,
        results.documents_sha256,
    )


def scale_of(value: Results | Comparison) -> float:
    """Return what figures are multiplied by: accuracies are shown in per cent."""
    return 100.0 if value.higher_is_better else 1.0


def scaled(figure: float | None, value: Results | Comparison) -> Markup:
    """Return one of the figures of results."""
    if figure is None:
        return NONE
    return number(figure, f"{figure * scale_of(value):.2f}")


def said(figure: float, value: Results | Comparison) -> str:
    """Return a figure in words, with its unit."""
    if value.higher_is_better:
        return f"{100 * figure:.2f} %"
    return f"{figure:.3f} {metric_name(value.metric)}"


def unit_of(value: Results) -> str:
    """Return the metric's name and unit."""
    unit = "%" if value.higher_is_better else "lower is better"
    return f"{metric_name(value.metric)} ({unit})"


def interval_of(figure: CategoryResult | Results, scale: float) -> Interval | None:
    """Return the normal 95 % interval of a figure, None without a standard error."""
    if figure.stderr is None:
        return None
    half = two_sided(CONFIDENCE) * figure.stderr
    return (figure.value - half) * scale, (figure.value + half) * scale


def bounds_of(values: Iterable[float], scale: float) -> Interval | None:
    """Return the least and most that is possible; None if that is not known.

    Accuracies and the like are shares of one; some metrics that rise (BLEU) are not.
    """
    shares = all(0.0 <= value <= 1.0 for value in values)
    return PER_CENT if scale > 1 and shares else None


def unit(compared: Comparison) -> str:
    """Return what differences are counted in."""
    return "points" if compared.higher_is_better else metric_name(compared.metric)


def comparison_result(
    results: Results, compared: Comparison, verdicts: Sequence[Verdict]
) -> str:
    """Say in one sentence what was lost against the baseline, and if gates held."""
    head = compared.headline
    places = 2 if compared.higher_is_better else 3
    change = f"{head.difference:+.{places}f} {unit(compared)}"
    if compared.higher_is_better:
        change += f" of {metric_name(compared.metric)}"
    spread = "no interval"
    if head.interval is not None:
        low, high = head.interval
        spread = f"95 % interval {low:+.{places}f} to {high:+.{places}f}"
    gates = "".join(f"; {_gate_result(verdict)}" for verdict in verdicts)
    return (
        f"{compared.model} {_standing(head, compared)} {compared.baseline} on "
        f"{results.task}: {change} ({spread}), {said(head.value, compared)} where that "
        f"has {said(head.baseline, compared)}{gates}."
    )


def _standing(head: Difference, compared: Comparison) -> str:
    low, high = head.interval or (head.difference, head.difference)
    if low <= 0 <= high:
        return "is as good as" if head.interval is None else "is within the noise of"
    better = (head.difference > 0) == compared.higher_is_better
    return "is better than" if better else "is worse than"


def _gate_result(verdict: Verdict) -> str:
    blind = verdict.passed and not verdict.sees
    but = ", but so few questions cannot show such a loss" if blind else ""
    return f"the gate {gate_name(verdict)} {gate_outcome(verdict)}{but}"


def comparison_headline(compared: Comparison) -> Iterator[tuple[str, Markup]]:
    """Yield the headline's difference, its interval and its recovery."""
    head = compared.headline
    yield f"{unit(compared)} against {compared.baseline}", _change(head)
    if head.interval is not None:
        yield "95 % interval", _interval(head)
    if head.recovery is not None:
        yield "recovery", _recovery(head)
    if head.mcnemar_p is not None:
        both = joined(number(head.lost), " / ", number(head.won))
        yield "questions lost / won", both
        yield "McNemar's exact p", decimals(head.mcnemar_p, 3)
    if head.min_detectable_drop is not None:
        yield (
            f"{unit(compared)}: smallest drop seen",
            decimals(head.min_detectable_drop, 2),
        )


def columns_of(compared: Comparison) -> list[str]:
    """Return the titles of `difference_cells`."""
    own = ["baseline", f"difference ({unit(compared)})", "95 % interval", "recovery"]
    return [*own, "lost", "won", "McNemar's p", "smallest drop seen"]


def difference_cells(found: Difference | None, compared: Comparison) -> list[Markup]:
    """Return a row's cells from the baseline on; dashes where nothing was compared."""
    if found is None:
        return [NONE] * len(columns_of(compared))
    return [
        scaled(found.baseline, compared),
        _change(found),
        _interval(found),
        _recovery(found),
        number(found.lost),
        number(found.won),
        decimals(found.mcnemar_p, 3),
        decimals(found.min_detectable_drop, 2),
    ]


def comparison_plot(compared: Comparison) -> Picture:
    """Return the differences as a picture."""
    head = [compared.headline] if len(compared.categories) != 1 else []
    title = f"Difference in {unit(compared)} against {compared.baseline}"
    counted = ""
    if compared.num_unmatched:
        counted = (
            f" {compared.num_unmatched:,} questions only one of the two answered "
            "count nowhere."
        )
    named = [(one.name, one) for one in (*compared.categories, *head)]
    return _on_a_line("difference", title, named, _WORDS + counted, compared)


def controls_part(compared: Comparison) -> list[Markup | Picture]:
    """Return the controls as a picture and a table; nothing without any."""
    controls = compared.controls or ()
    if not controls:
        return []
    title = f"{unit(compared).capitalize()} ahead of controls"
    heads = [(control.name, control.headline) for control in controls]
    return [
        _on_a_line("controls", title, heads, _CONTROLS, compared),
        _controls(controls, compared),
    ]


def _controls(controls: Sequence[Control], compared: Comparison) -> Markup:
    rows = []
    for control in controls:
        found = [(one.name, one) for one in control.categories]
        if len(found) > 1:
            found.append(("mean", control.headline))
        for name, one in found:
            figure = scaled(one.baseline, compared)
            rows.append((control.name, name, figure, _change(one), _interval(one)))
        for seed, value in zip(control.seeds, control.values, strict=False):
            figure = scaled(value, compared)
            rows.append((control.name, f"seed {seed}", figure, NONE, NONE))
    ahead = f"ahead ({unit(compared)})"
    columns = ("control", "category", "its figure", ahead, "95 % interval")
    return table("Controls", columns, rows)


def gates_headline(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, Markup]]:
    """Yield each gate's outcome."""
    for verdict in verdicts:
        yield gate_name(verdict), _outcome(verdict)


def gates_part(verdicts: Sequence[Verdict]) -> list[Markup]:
    """Return a table of the gates, and what to think of one that cannot see."""
    if not verdicts:
        return []
    rows = [
        (
            gate_name(verdict),
            _outcome(verdict),
            verdict.figures,
            verdict.rule,
            decimals(verdict.judged, 2),
            number(verdict.limit, f"{verdict.limit:g}"),
            gate_sight(verdict),
        )
        for verdict in verdicts
    ]
    blind = [] if all(verdict.sees for verdict in verdicts) else [note(_BLIND)]
    return [table("Gates", _GATES, rows), *blind]


def _outcome(verdict: Verdict) -> Markup:
    word = gate_outcome(verdict)
    return tag("strong", word, class_="good" if verdict.passed else "bad")


def _on_a_line(
    name: str,
    title: str,
    found: Iterable[tuple[str, Difference]],
    words: str,
    compared: Comparison,
) -> Picture:
    """Return differences, by their labels, and their intervals as a picture."""
    pairs = list(found)
    dots = [
        Dot(
            label=label,
            text=_in_words(one),
            value=one.difference,
            interval=one.interval,
        )
        for label, one in pairs
    ]
    figures = [figure for _, one in pairs for figure in (one.value, one.baseline)]
    possible = bounds_of(figures, scale_of(compared)) and _POINTS
    return dot_plot(
        name, title, dots, bars=_BARS, words=words, zero=True, bounds=possible
    )


def _change(found: Difference) -> Markup:
    return decimals(found.difference, 2, sign=True)


def _interval(found: Difference) -> Markup:
    if found.interval is None:
        return NONE
    low, high = found.interval
    both = joined(decimals(low, 2, sign=True), " to ", decimals(high, 2, sign=True))
    return tag("span", both, class_="together")


def _recovery(found: Difference) -> Markup:
    if found.recovery is None:
        return NONE
    return number(found.recovery, f"{found.recovery:.1f} %")


def _in_words(found: Difference) -> str:
    words = f"{found.difference:+.2f}"
    if found.interval is not None:
        low, high = found.interval
        words += f" ({low:+.2f} to {high:+.2f})"
    return words
