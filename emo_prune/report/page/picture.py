"""What all inline SVG pictures share: a name, a description and a legend."""

from __future__ import annotations

from collections.abc import Iterable

from emo_prune.report.page.axis import coordinate
from emo_prune.report.page.markup import Markup, tag


def picture(
    title: str, width: float, height: float, shapes: Iterable[object], kind: str
) -> Markup:
    """Return a figure: an SVG of that many units, which its width follows."""
    drawn = tag(
        "svg",
        tag("title", title),
        *shapes,
        viewBox=f"0 0 {coordinate(width)} {coordinate(height)}",
        width=coordinate(width),
        height=coordinate(height),
        role="img",
        class_=kind,
    )
    caption = tag("figcaption", title)
    return tag("figure", caption, tag("div", drawn, class_="scroll"))


def words(
    x: object, y: object, content: object, *, anchor: str = "start", kind: str = "word"
) -> Markup:
    """Return text at a place."""
    return tag("text", content, x=x, y=y, text_anchor=anchor, class_=kind)


def line(x1: object, y1: object, x2: object, y2: object, kind: str) -> Markup:
    """Return a straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)
