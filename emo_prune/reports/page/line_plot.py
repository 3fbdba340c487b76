"""Values over steps, layers or sizes, as lines through points with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from emo_prune.reports.page.axis import Axis, coordinate, tick_label
from emo_prune.reports.page.markup import Markup, tag
from emo_prune.reports.page.picture import Picture, line, shortened, words

_WIDTH = 360.0
_LEFT, _TOP, _BOTTOM, _RIGHT = 40.0, 10.0, 200.0, 352.0
_MOST_MARKED = 64  # points; more are a line alone
_APART = 4.0  # between intervals at the same place
_LOOKS = 7  # lines that are told apart by colour and dashes
_ROW, _SAMPLE, _LETTER = 16.0, 30.0, 6.2  # of the legend
_LONGEST = 48  # letters of a name in it


class Point(NamedTuple):
    """A place, and how far up and down its interval goes."""

    x: float
    y: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A named line through points, ascending in the first number."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What is around the lines.

    ticks: labels of places on the horizontal axis; without them it has round numbers,
    and `whole` ones alone. level: a height that is marked from side to side, and what
    it is. edge: a broad line behind the others. words: what to know to read it.
    """

    x_title: str
    ticks: Mapping[float, str] = field(default_factory=dict)
    whole: bool = True
    level: tuple[float, str] | None = None
    edge: Sequence[Point] = ()
    words: str = ""


def line_plot(name: str, title: str, lines: Sequence[Line], frame: Frame) -> Picture:
    """Return one line or several, told apart by colour and dashes.

    Every line has at least one point. Where intervals are drawn the lines stand a
    little apart, so that none covers another's.
    """
    axes = _axes(lines, frame)
    shapes = list(_grid(*axes, frame))
    if frame.edge:
        shapes.append(_through(_places(frame.edge, axes), "edge"))
    spread = any(point.interval for one in lines for point in one.points)
    for n, one in enumerate(lines):
        aside = _APART * (n - (len(lines) - 1) / 2) if spread else 0.0
        shapes.append(_drawn(one, n % _LOOKS, aside, axes))
    legend, height = _legend([one.name for one in lines], frame.level)
    return Picture(
        name=name,
        title=title,
        width=_WIDTH,
        height=_BOTTOM + 34 + height,
        shapes=[*shapes, *legend],
        kind="lines",
        words=frame.words,
    )


def _axes(lines: Sequence[Line], frame: Frame) -> tuple[Axis, Axis]:
    points = [point for one in lines for point in one.points]
    heights = [y for p in points for y in (p.y, *(p.interval or ()))]
    if frame.level is not None:
        heights.append(frame.level[0])
    places = [*(point.x for point in points), *frame.ticks]
    across = Axis.over(places, _LEFT, _RIGHT)
    return across, Axis.over(heights, _BOTTOM, _TOP)


def _grid(across: Axis, upward: Axis, frame: Frame) -> Iterator[Markup]:
    for tick in upward.ticks():
        y = upward.place(tick)
        yield line(_LEFT, y, _RIGHT, y, "grid")
        yield words(_LEFT - 4, float(y) + 4, tick_label(tick), anchor="end")
    round_ = (t for t in across.ticks() if t >= 0 and (not frame.whole or t == int(t)))
    ticks = frame.ticks or {tick: tick_label(tick) for tick in round_}
    for tick, label in ticks.items():
        yield words(across.place(tick), _BOTTOM + 14, label, anchor="middle")
    yield words(_RIGHT, _BOTTOM + 28, frame.x_title, anchor="end")
    if frame.level is not None:
        y = upward.place(frame.level[0])
        yield line(_LEFT, y, _RIGHT, y, "level")


def _places(
    points: Sequence[Point], axes: tuple[Axis, Axis], aside: float = 0.0
) -> list[tuple[str, str]]:
    across, upward = axes
    return [
        (coordinate(float(across.place(p.x)) + aside), upward.place(p.y))
        for p in points
    ]


def _through(places: Sequence[tuple[str, str]], kind: str) -> Markup:
    return tag("polyline", points=" ".join(map(",".join, places)), class_=kind)


def _drawn(one: Line, look: int, aside: float, axes: tuple[Axis, Axis]) -> Markup:
    places = _places(one.points, axes, aside)
    shapes = []
    for point, (x, _) in zip(one.points, places, strict=True):
        if point.interval is not None:
            low, high = (axes[1].place(end) for end in point.interval)
            shapes.append(line(x, low, x, high, f"bar{look}"))
    if len(places) > 1:
        shapes.append(_through(places, f"line{look}"))
    radius = 2.5 if len(places) > 1 else 4
    if len(places) <= _MOST_MARKED:
        shapes += [
            tag("circle", cx=x, cy=y, r=radius, class_=f"mark{look}") for x, y in places
        ]
    return tag("g", tag("title", one.name), *shapes)


def _legend(
    names: Sequence[str], level: tuple[float, str] | None
) -> tuple[list[Markup], float]:
    """Return a sample and a name for each line, and the height that they take."""
    entries = [
        (shortened(name, _LONGEST), f"line{n % _LOOKS}") for n, name in enumerate(names)
    ]
    if level is not None:
        entries.append((level[1], "level"))
    if len(entries) < 2:
        return [], 0.0
    shapes, left, top = [], 0.0, _BOTTOM + 34
    for name, look in entries:
        width = _SAMPLE + _LETTER * len(name) + 12
        if left and left + width > _WIDTH:
            left, top = 0.0, top + _ROW
        y = top + 8
        shapes.append(line(left, y, left + 24, y, look))
        if look != "level":
            mark = look.replace("line", "mark")
            shapes.append(tag("circle", cx=left + 12, cy=y, r=2.5, class_=mark))
        shapes.append(words(left + _SAMPLE, y + 4, name))
        left += width
    return shapes, top + _ROW + 4 - (_BOTTOM + 34)
