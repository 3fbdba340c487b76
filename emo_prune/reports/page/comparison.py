"""A comparison with a baseline: differences, intervals, recovery, lost and won."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from emo_prune.reports.page.cells import NONE, decimals, number
from emo_prune.reports.page.dot_plot import Dot, dot_plot
from emo_prune.reports.page.figures import scaled
from emo_prune.reports.page.markup import Markup, joined, tag
from emo_prune.reports.page.picture import Picture

Value = Mapping[str, Any]

_WORDS = (
    "Bars are paired 95 % intervals, question by question: with one that crosses the "
    "line at zero there may be no difference. Lost, won: questions that only the "
    "baseline, or only this model, has right; McNemar's exact p is the chance of so "
    "uneven a split if both were equally likely. Smallest drop seen: by a paired test "
    "at 95 % with 80 % power on these questions."
)


def comparison_headline(compared: Value) -> Iterator[tuple[str, Markup]]:
    """Yield the headline's difference, its interval and its recovery."""
    head = compared["headline"]
    yield f"{unit(compared)} against {compared['baseline']}", change(head)
    if head["interval"] is not None:
        yield "95 % interval", interval(head)
    if head["recovery"] is not None:
        yield "recovery", _recovery(head)
    if head["mcnemar_p"] is not None:
        both = joined(number(head["lost"]), " / ", number(head["won"]))
        yield "questions lost / won", both
        yield "McNemar's exact p", decimals(head["mcnemar_p"], 3)
    if head["min_detectable_drop"] is not None:
        yield (
            f"{unit(compared)}: smallest drop seen",
            decimals(head["min_detectable_drop"], 2),
        )


def columns_of(compared: Value) -> list[str]:
    """Return the titles of `difference_cells`."""
    own = ["baseline", f"difference ({unit(compared)})", "95 % interval", "recovery"]
    return [*own, "lost", "won", "McNemar's p", "smallest drop seen"]


def difference_cells(found: Value | None, compared: Value) -> list[Markup]:
    """Return a row's cells from the baseline on; dashes where nothing was compared."""
    if found is None:
        return [NONE] * len(columns_of(compared))
    return [
        scaled(found["baseline"], compared),
        change(found),
        interval(found),
        _recovery(found),
        number(found["lost"]),
        number(found["won"]),
        decimals(found["mcnemar_p"], 3),
        decimals(found["min_detectable_drop"], 2),
    ]


def comparison_part(compared: Value) -> Picture:
    """Return the differences as a picture."""
    found: Sequence[Value] = compared["categories"]
    head = [compared["headline"]] if len(found) != 1 else []
    title = f"Difference in {unit(compared)} against {compared['baseline']}"
    unmatched = compared["num_unmatched"]
    counted = ""
    if unmatched:
        counted = (
            f" {unmatched:,} questions only one of the two answered count nowhere."
        )
    named = [(one["name"], one) for one in [*found, *head]]
    return on_a_line("difference", title, named, _WORDS + counted)


def on_a_line(
    name: str, title: str, found: Iterable[tuple[str, Value]], words: str
) -> Picture:
    """Return differences, by their labels, and their intervals as a picture."""
    dots = [
        Dot(
            label=label,
            text=_in_words(one),
            value=one["difference"],
            interval=None if one["interval"] is None else tuple(one["interval"]),
        )
        for label, one in found
    ]
    return dot_plot(name, title, dots, words, zero=True)


def unit(compared: Value) -> str:
    """Return what differences are counted in."""
    return "points" if compared["higher_is_better"] else str(compared["metric"])


def change(found: Value) -> Markup:
    """Return a difference, with its sign."""
    return decimals(found["difference"], 2, sign=True)


def interval(found: Value) -> Markup:
    """Return a difference's interval; a dash without one."""
    if found["interval"] is None:
        return NONE
    low, high = found["interval"]
    both = joined(decimals(low, 2, sign=True), " to ", decimals(high, 2, sign=True))
    return tag("span", both, class_="together")


def _recovery(found: Value) -> Markup:
    if found["recovery"] is None:
        return NONE
    return number(found["recovery"], f"{found['recovery']:.1f} %")


def _in_words(found: Value) -> str:
    words = f"{found['difference']:+.2f}"
    if found["interval"] is not None:
        low, high = found["interval"]
        words += f" ({low:+.2f} to {high:+.2f})"
    return words
