"""A comparison with a baseline: differences, their intervals, recovery."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from emo_prune.report.page.cells import NONE, decimals, number
from emo_prune.report.page.dot_plot import Dot, dot_plot
from emo_prune.report.page.markup import Markup, joined, tag
from emo_prune.report.page.tables import note

Value = Mapping[str, Any]


def comparison_headline(compared: Value) -> Iterator[tuple[str, Markup]]:
    """Yield the headline's difference, its interval and its recovery."""
    head = compared["headline"]
    yield f"{_unit(compared)} against {compared['baseline']}", _change(head)
    if head["interval"] is not None:
        yield "95 % interval", _interval(head)
    if head["recovery"] is not None:
        yield "recovery", _recovery(head)


def columns_of(compared: Value) -> list[str]:
    """Return the titles of `difference_cells`."""
    unit = _unit(compared)
    return ["baseline", f"difference ({unit})", "95 % interval", "recovery"]


def difference_cells(found: Value | None, compared: Value) -> list[Markup]:
    """Return the baseline's figure, the difference, its interval and the recovery."""
    if found is None:
        return [NONE] * 4
    scale = 100.0 if compared["higher_is_better"] else 1.0
    baseline = number(found["baseline"], f"{found['baseline'] * scale:.2f}")
    return [baseline, _change(found), _interval(found), _recovery(found)]


def comparison_part(compared: Value) -> Markup:
    """Return the differences as a picture, and what was left out of them."""
    found: Sequence[Value] = compared["categories"]
    head = [compared["headline"]] if len(found) != 1 else []
    dots = [
        Dot(
            label=one["name"],
            text=_in_words(one),
            value=one["difference"],
            interval=None if one["interval"] is None else tuple(one["interval"]),
        )
        for one in [*found, *head]
    ]
    title = f"Difference in {_unit(compared)} against {compared['baseline']}"
    unmatched = compared["num_unmatched"]
    counted = f" {unmatched:,} questions were answered by one of the two alone and "
    return joined(
        dot_plot(title, dots, zero=True),
        note(
            "Bars are paired 95 % intervals, question by question: with one that "
            "crosses the line at zero there may be no difference.",
            counted + "count nowhere." if unmatched else "",
        ),
    )


def _unit(compared: Value) -> str:
    return "points" if compared["higher_is_better"] else str(compared["metric"])


def _change(found: Value) -> Markup:
    return decimals(found["difference"], 2, sign=True)


def _interval(found: Value) -> Markup:
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
