"""Figures with their intervals, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emo_prune.reports.page.markup import Markup, joined, tag
from emo_prune.reports.page.picture import (
    Axis,
    Interval,
    Picture,
    circle,
    coordinate,
    cut_marks,
    cut_words,
    line,
    shortened,
    text,
    tick_label,
    within,
)

_WIDTH = 360.0  # of a small phone: it is shown there as it is, elsewhere larger
_ROW, _TEXT = 36.0, 19.0
_MARGIN, _DOT, _RING = 12.0, 4.5, 5.5  # a ring is seen around a dot on it
_LABEL, _FIGURE = 6.0, 5.8  # a letter of either, about


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A figure: a full dot on its interval, a hollow one for what it is held against.

    text: the figure in words, as the tables give it.
    """

    label: str
    text: str
    value: float
    interval: Interval | None = None
    other: float | None = None


def dot_plot(
    name: str,
    title: str,
    dots: Sequence[Dot],
    *,
    bars: str,
    words: str = "",
    zero: bool = False,
    bounds: Interval | None = None,
) -> Picture:
    """Return the dots on one axis; `zero` marks where nothing is won or lost.

    bars: what intervals are, said if there are any. words: what else to know. bounds:
    the least and the most that is possible; intervals are cut off there.
    """
    intervals = [dot.interval for dot in dots if dot.interval is not None]
    said = [bars if intervals else "", words, cut_words(intervals, bounds)]
    values = [value for dot in dots for value in _values(dot, bounds)]
    axis = Axis.over([*values, 0.0] if zero else values, _MARGIN, _WIDTH - _MARGIN)
    bottom = _ROW * len(dots) + 6
    grid = [
        joined(
            line(axis.place(tick), 4, axis.place(tick), bottom, "grid"),
            text(axis.place(tick), bottom + 14, tick_label(tick), anchor="middle"),
        )
        for tick in axis.ticks()
    ]
    if zero:
        grid.append(line(axis.place(0.0), 0, axis.place(0.0), bottom, "level"))
    rows = [_row(dot, axis, _ROW * place, bounds) for place, dot in enumerate(dots)]
    return Picture(
        name=name,
        title=title,
        width=_WIDTH,
        height=bottom + 20,
        shapes=[*grid, *rows],
        kind="dots",
        words=" ".join(filter(None, said)),
    )


def _values(dot: Dot, bounds: Interval | None) -> list[float]:
    other = () if dot.other is None else (dot.other,)
    ends = () if dot.interval is None else within(dot.interval, bounds)
    return [dot.value, *ends, *other]


def _row(dot: Dot, axis: Axis, top: float, bounds: Interval | None) -> Markup:
    y = top + 26
    longest = int((_WIDTH - _FIGURE * len(dot.text) - _MARGIN) / _LABEL)
    shapes = [
        tag("title", f"{dot.label}: {dot.text}"),
        tag("rect", x=0, y=coordinate(top), width=coordinate(_WIDTH),
            height=coordinate(_TEXT), class_="sheet"),
        text(0, top + 14, shortened(dot.label, max(longest, 12)), kind="label"),
        text(_WIDTH, top + 14, dot.text, anchor="end"),
    ]  # fmt: skip
    if dot.interval is not None:
        low, high = map(axis.place, within(dot.interval, bounds))
        shapes.append(line(low, y, high, y, "interval"))
        shapes += cut_marks(dot.interval, bounds, axis, y, "interval")
    if dot.other is not None:
        shapes.append(circle(axis.place(dot.other), y, _RING, "other"))
    shapes.append(circle(axis.place(dot.value), y, _DOT, "dot"))
    return tag("g", *shapes)
