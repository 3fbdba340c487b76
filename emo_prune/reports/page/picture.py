"""What all pictures share: a name, a title, and the shapes of an SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emo_prune.reports.page.axis import coordinate
from emo_prune.reports.page.markup import Markup, tag
from emo_prune.reports.page.tables import note


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


def words(
    x: object, y: object, content: object, *, anchor: str = "start", kind: str = "word"
) -> Markup:
    """Return text at a place."""
    return tag("text", content, x=x, y=y, text_anchor=anchor, class_=kind)


def shortened(text: str, longest: int) -> str:
    """Return a text of so many letters at most, with dots for what was cut off."""
    return text if len(text) <= longest else text[: longest - 3] + "..."


def line(x1: object, y1: object, x2: object, y2: object, kind: str) -> Markup:
    """Return a straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)
