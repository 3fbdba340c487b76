"""Values over steps, layers or sizes, as lines through points with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from emo_prune.reports.page.markup import Markup, tag
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

_WIDTH = 360.0
_LEFT, _TOP, _BOTTOM, _RIGHT = 40.0, 10.0, 200.0, 352.0
_MOST_MARKED = 64  # points; more are a line alone
_LOOKS = 7  # lines that are told apart by colour and dashes
_BAR, _MARK, _ALONE = 1.5, 2.5, 4.0  # width of a bar; radius of a mark
_BROADER, _BROADEST = 2.0, 6.0  # a bar than that of the next line, and of the last
_ROW, _SAMPLE, _LETTER = 16.0, 30.0, 6.2  # of the legend
_LONGEST = 48  # letters of a name in it
_COINCIDE = "Where bars are in one place, the broader is of the line named earlier."


class Point(NamedTuple):
    """A place, and how far up and down its interval goes."""

    x: float
    y: float
    interval: Interval | None = None


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
    it is. edge: a broad line behind the others, if it has two points or more. bounds:
    the least and the most that is possible; intervals are cut off there. bars: what
    intervals are, said if there are any. words: what else to know to read it.
    """

    x_title: str
    ticks: Mapping[float, str] = field(default_factory=dict)
    whole: bool = True
    level: tuple[float, str] | None = None
    edge: Line | None = None
    bounds: Interval | None = None
    bars: str = ""
    words: str = ""


class _Look(NamedTuple):
    """How a line is told from the others: its classes' number, and how broad it is."""

    kind: int
    bar: float
    mark: float


def line_plot(name: str, title: str, lines: Sequence[Line], frame: Frame) -> Picture:
    """Return one line or several, told apart by colour and dashes.

    Every line has at least one point. Every point is where it was measured; bars and
    marks that coincide are seen behind one another, the earlier line's being broader.
    """
    edge = frame.edge if frame.edge and len(frame.edge.points) > 1 else None
    axes = _axes(lines, frame)
    shapes = list(_grid(*axes, frame))
    if edge is not None:
        shapes.append(_through(_places(edge.points, axes), "edge"))
    looks = [_look(one, n, len(lines)) for n, one in enumerate(lines)]
    for one, look in zip(lines, looks, strict=True):
        shapes.append(_drawn(one, look, axes, frame.bounds))
    legend, height = _legend(list(zip(lines, looks, strict=True)), frame.level, edge)
    intervals = [p.interval for one in lines for p in one.points if p.interval]
    said = [
        frame.bars if intervals else "",
        _COINCIDE if intervals and len(lines) > 1 else "",
        frame.words,
        cut_words(intervals, frame.bounds),
    ]
    return Picture(
        name=name,
        title=title,
        width=_WIDTH,
        height=_BOTTOM + 34 + height,
        shapes=[*shapes, *legend],
        kind="lines",
        words=" ".join(filter(None, said)),
    )


def _look(one: Line, n: int, total: int) -> _Look:
    behind = total - 1 - n
    broader = min(_BROADER, _BROADEST / max(total - 1, 1)) * behind
    radius = _MARK if len(one.points) > 1 else _ALONE
    bars = any(point.interval for point in one.points)
    return _Look(n % _LOOKS, _BAR + broader, radius + (broader / 4 if bars else 0))


def _axes(lines: Sequence[Line], frame: Frame) -> tuple[Axis, Axis]:
    points = [point for one in lines for point in one.points]
    heights = [point.y for point in points]
    for point in points:
        heights += within(point.interval, frame.bounds) if point.interval else ()
    if frame.level is not None:
        heights.append(frame.level[0])
    places = [*(point.x for point in points), *frame.ticks]
    across = Axis.over(places, _LEFT, _RIGHT)
    return across, Axis.over(heights, _BOTTOM, _TOP)


def _grid(across: Axis, upward: Axis, frame: Frame) -> Iterator[Markup]:
    for tick in upward.ticks():
        y = upward.place(tick)
        yield line(_LEFT, y, _RIGHT, y, "grid")
        yield text(_LEFT - 4, y + 4, tick_label(tick), anchor="end")
    round_ = (t for t in across.ticks() if t >= 0 and (not frame.whole or t == int(t)))
    ticks = frame.ticks or {tick: tick_label(tick) for tick in round_}
    for tick, label in ticks.items():
        yield text(across.place(tick), _BOTTOM + 14, label, anchor="middle")
    yield text(_RIGHT, _BOTTOM + 28, frame.x_title, anchor="end")
    if frame.level is not None:
        y = upward.place(frame.level[0])
        yield line(_LEFT, y, _RIGHT, y, "level")


def _places(
    points: Sequence[Point], axes: tuple[Axis, Axis]
) -> list[tuple[float, float]]:
    across, upward = axes
    return [(across.place(point.x), upward.place(point.y)) for point in points]


def _through(places: Sequence[tuple[float, float]], kind: str) -> Markup:
    points = " ".join(f"{coordinate(x)},{coordinate(y)}" for x, y in places)
    return tag("polyline", points=points, class_=kind)


def _drawn(
    one: Line, look: _Look, axes: tuple[Axis, Axis], bounds: Interval | None
) -> Markup:
    places = _places(one.points, axes)
    bar, upward = f"bar{look.kind}", axes[1]
    shapes = []
    for point, (x, _) in zip(one.points, places, strict=True):
        if point.interval is not None:
            low, high = map(upward.place, within(point.interval, bounds))
            shapes.append(line(x, low, x, high, bar, look.bar))
            shapes += cut_marks(point.interval, bounds, upward, x, bar, upright=True)
    if len(places) > 1:
        shapes.append(_through(places, f"line{look.kind}"))
    if len(places) <= _MOST_MARKED:
        shapes += [circle(x, y, look.mark, f"mark{look.kind}") for x, y in places]
    return tag("g", tag("title", one.name), *shapes)


def _legend(
    lines: Sequence[tuple[Line, _Look]],
    level: tuple[float, str] | None,
    edge: Line | None,
) -> tuple[list[Markup], float]:
    """Return a sample and a name for all that is drawn, and the height they take."""
    entries = [(one.name, _sample(one, look)) for one, look in lines]
    if level is not None:
        entries.append((level[1], (("level",), None)))
    if edge is not None:
        entries.append((edge.name, (("edge",), None)))
    if len(entries) < 2:
        return [], 0.0
    shapes, left, top = [], 0.0, _BOTTOM + 34
    for name, (strokes, mark) in entries:
        shown = shortened(name, _LONGEST)
        width = _SAMPLE + _LETTER * len(shown) + 12
        if left and left + width > _WIDTH:
            left, top = 0.0, top + _ROW
        y = top + 8
        shapes += [line(left, y, left + 24, y, stroke) for stroke in strokes]
        if mark is not None:
            shapes.append(circle(left + 12, y, *mark))
        shapes.append(text(left + _SAMPLE, y + 4, shown))
        left += width
    return shapes, top + _ROW + 4 - (_BOTTOM + 34)


def _sample(one: Line, look: _Look) -> tuple[tuple[str, ...], tuple[float, str] | None]:
    """Return what a line's entry shows: a stroke if it has one, marks if it has any."""
    strokes = (f"line{look.kind}",) if len(one.points) > 1 else ()
    is_marked = len(one.points) <= _MOST_MARKED
    return strokes, (look.mark, f"mark{look.kind}") if is_marked else None
