"""Values over steps or layers, as lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emo_prune.report.page.axis import Axis, tick_label
from emo_prune.report.page.markup import Markup, joined, tag
from emo_prune.report.page.picture import line, picture, words

_WIDTH, _HEIGHT = 360.0, 200.0
_LEFT, _TOP, _BOTTOM, _RIGHT = 40.0, 10.0, 170.0, 352.0
_MOST_MARKED = 64  # points; more are a line alone


@dataclass(frozen=True, slots=True)
class Line:
    """A named line through points, ascending in the first number."""

    name: str
    points: Sequence[tuple[float, float]]


def line_plot(title: str, lines: Sequence[Line], x_title: str) -> Markup:
    """Return one line or several, told apart by colour and dashes.

    Every line has at least one point.
    """
    points = [point for one in lines for point in one.points]
    across = Axis.over((x for x, _ in points), _LEFT, _RIGHT)
    upward = Axis.over((y for _, y in points), _BOTTOM, _TOP)
    shapes = [*_grid(across, upward), words(_RIGHT, 198, x_title, anchor="end")]
    shapes += [_drawn(one, f"line{n}", across, upward) for n, one in enumerate(lines)]
    whole = picture(title, _WIDTH, _HEIGHT, shapes, "lines")
    return joined(whole, _legend([one.name for one in lines]))


def _grid(across: Axis, upward: Axis) -> list[Markup]:
    shapes = []
    for tick in upward.ticks():
        y = upward.place(tick)
        shapes.append(line(_LEFT, y, _RIGHT, y, "grid"))
        shapes.append(words(_LEFT - 4, float(y) + 4, tick_label(tick), anchor="end"))
    for tick in across.ticks():
        if tick >= 0 and tick == int(tick):
            x = across.place(tick)
            shapes.append(words(x, 184, tick_label(tick), anchor="middle"))
    return shapes


def _drawn(one: Line, kind: str, across: Axis, upward: Axis) -> Markup:
    places = [(across.place(x), upward.place(y)) for x, y in one.points]
    path = " ".join(f"{x},{y}" for x, y in places)
    marks = places if len(places) <= _MOST_MARKED else []
    return tag(
        "g",
        tag("polyline", points=path),
        *(tag("circle", cx=x, cy=y, r=2.5) for x, y in marks),
        class_=f"line {kind}",
    )


def _legend(names: Sequence[str]) -> Markup | None:
    if len(names) < 2:
        return None
    entries = (tag("span", _sample(f"line{n}"), name) for n, name in enumerate(names))
    return tag("p", *entries, class_="legend")


def _sample(kind: str) -> Markup:
    stroke = tag("g", line(1, 5, 23, 5, "stroke"), class_=f"line {kind}")
    return tag("svg", stroke, width=24, height=10, viewBox="0 0 24 10", class_="sample")
