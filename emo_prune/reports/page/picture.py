"""What all pictures share: a name, a title, shapes of SVG, and axes to place them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from emo_prune.reports.page.markup import Markup, note, tag

Interval = tuple[float, float]

_STEPS = (1.0, 2.0, 5.0, 10.0)
_CUT, _STROKE = 6.5, 1.5  # where an interval is cut off: half of its length, its width


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture of `width` by `height` units, which a phone shows one to one.

    name: of its file, no two alike in a section. shapes: elements whose classes are
    those of `picture.css`. kind: the class that says how large a page shows it. words:
    what to know to read it.
    """

    name: str
    title: str
    width: float
    height: float
    shapes: Sequence[Markup]
    kind: str
    words: str = ""

    def to_html(self) -> Markup:
        """Return a figure of the page, its title above it."""
        drawn = tag(
            "svg",
            tag("title", self.title),
            *self.shapes,
            viewBox=f"0 0 {coordinate(self.width)} {coordinate(self.height)}",
            width=coordinate(self.width),
            height=coordinate(self.height),
            role="img",
            class_=self.kind,
        )
        return tag(
            "figure",
            tag("figcaption", self.title),
            tag("div", drawn, class_="scroll"),
            note(self.words) if self.words else None,
            class_=self.kind,
        )


@dataclass(frozen=True, slots=True)
class Axis:
    """Values from `low` to `high`, drawn from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Iterable[float], start: float, end: float) -> Axis:
        """Return an axis on which all values have a place, with some room around."""
        found = list(values)
        low, high = min(found), max(found)
        room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
        return cls(low - room, high + room, start, end)

    def place(self, value: float) -> float:
        """Return where a value is drawn."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Return round values within the axis, `most` at most."""
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * s for s in _STEPS if power * s >= rough * (1 - 1e-9))
        first = math.ceil(self.low / step)
        last = math.floor(self.high / step)
        return [count * step for count in range(first, last + 1)]


def coordinate(value: float) -> str:
    """Return a coordinate with two places at most, as SVG writes it."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def tick_label(value: float) -> str:
    """Return a round value in as few digits as it needs."""
    return f"{value:.6g}"


def shortened(name: str, longest: int) -> str:
    """Return a name of so many letters at most, with dots for what its middle was.

    Names of models and files differ at their ends more often than in between.
    """
    if len(name) <= longest:
        return name
    end = (longest - 3) // 2
    return f"{name[: longest - 3 - end]}...{name[-end:]}"


def text(
    x: float, y: float, content: object, *, anchor: str = "start", kind: str = "word"
) -> Markup:
    """Return text at a place."""
    place = {"x": coordinate(x), "y": coordinate(y)}
    return tag("text", content, **place, text_anchor=anchor, class_=kind)


def line(
    x1: float, y1: float, x2: float, y2: float, kind: str, width: float | None = None
) -> Markup:
    """Return a straight line; `width` is for kinds whose rule gives none."""
    ends = zip(("x1", "y1", "x2", "y2"), (x1, y1, x2, y2), strict=True)
    places = {name: coordinate(value) for name, value in ends}
    stroke = None if width is None else coordinate(width)
    return tag("line", **places, stroke_width=stroke, class_=kind)


def circle(x: float, y: float, radius: float, kind: str) -> Markup:
    """Return a dot."""
    centre = {"cx": coordinate(x), "cy": coordinate(y)}
    return tag("circle", **centre, r=coordinate(radius), class_=kind)


def within(interval: Interval, bounds: Interval | None) -> Interval:
    """Return what of an interval is possible: an accuracy is from 0 to 100 %."""
    if bounds is None:
        return interval
    low, high = (min(max(end, bounds[0]), bounds[1]) for end in interval)
    return low, high


def cut_marks(
    interval: Interval,
    bounds: Interval | None,
    axis: Axis,
    across: float,
    kind: str,
    *,
    upright: bool = False,
) -> list[Markup]:
    """Return a stroke across each end of an interval that was cut off at a bound.

    across: where the interval's line is on the other axis, on which the strokes run.
    upright: the line runs up and down.
    """
    marks = []
    for end, kept in zip(interval, within(interval, bounds), strict=True):
        if end != kept:
            at, low, high = axis.place(kept), across - _CUT, across + _CUT
            ends = (low, at, high, at) if upright else (at, low, at, high)
            marks.append(line(*ends, kind, _STROKE))
    return marks


def cut_words(intervals: Iterable[Interval], bounds: Interval | None) -> str:
    """Return what a stroke across an interval's end means, if there is one."""
    if bounds is None or all(within(one, bounds) == one for one in intervals):
        return ""
    low, high = map(tick_label, bounds)
    return f"An interval with a stroke across its end is cut off at {low} or {high}."
