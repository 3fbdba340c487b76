"""Figures with their intervals, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emo_prune.reports.page.axis import Axis, tick_label
from emo_prune.reports.page.markup import Markup, joined, tag
from emo_prune.reports.page.picture import Picture, line, shortened, words

_WIDTH = 360.0  # of a small phone: it is shown there as it is, elsewhere larger
_ROW = 36.0
_MARGIN = 12.0
_LONGEST = 30  # letters of a label


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A figure: a full dot on its interval, a hollow one for what it is held against.

    text: the figure in words, as the tables give it.
    """

    label: str
    text: str
    value: float
    interval: tuple[float, float] | None = None
    other: float | None = None


def dot_plot(
    name: str, title: str, dots: Sequence[Dot], words_: str, *, zero: bool = False
) -> Picture:
    """Return the dots on one axis; `zero` marks where nothing is won or lost."""
    values = [value for dot in dots for value in _values(dot)]
    axis = Axis.over([*values, 0.0] if zero else values, _MARGIN, _WIDTH - _MARGIN)
    bottom = _ROW * len(dots) + 6
    grid = [
        joined(
            line(axis.place(tick), 4, axis.place(tick), bottom, "grid"),
            words(axis.place(tick), bottom + 14, tick_label(tick), anchor="middle"),
        )
        for tick in axis.ticks()
    ]
    if zero:
        grid.append(line(axis.place(0.0), 0, axis.place(0.0), bottom, "level"))
    rows = [_row(dot, axis, _ROW * place) for place, dot in enumerate(dots)]
    return Picture(
        name=name,
        title=title,
        width=_WIDTH,
        height=bottom + 20,
        shapes=[*grid, *rows],
        kind="dots",
        words=words_,
    )


def _values(dot: Dot) -> list[float]:
    other = () if dot.other is None else (dot.other,)
    return [dot.value, *(dot.interval or ()), *other]


def _row(dot: Dot, axis: Axis, top: float) -> Markup:
    y = f"{top + 26:g}"
    shapes = [
        tag("title", f"{dot.label}: {dot.text}"),
        words(0, f"{top + 14:g}", shortened(dot.label, _LONGEST), kind="label"),
        words(_WIDTH, f"{top + 14:g}", dot.text, anchor="end"),
    ]
    if dot.interval is not None:
        low, high = (axis.place(value) for value in dot.interval)
        shapes.append(line(low, y, high, y, "interval"))
    if dot.other is not None:
        shapes.append(
            tag("circle", cx=axis.place(dot.other), cy=y, r=4, class_="other")
        )
    shapes.append(tag("circle", cx=axis.place(dot.value), cy=y, r=4.5, class_="dot"))
    return tag("g", *shapes)
