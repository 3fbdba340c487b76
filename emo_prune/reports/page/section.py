"""What an artifact becomes on the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from emo_prune.reports.page.artifacts import Artifact
from emo_prune.reports.page.markup import Markup, tag
from emo_prune.reports.page.picture import Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A titled part of the page.

    source: the name of the artifact it shows. result: what it comes to, in one
    sentence. headline: the few figures that matter most, each with its name.
    """

    title: str
    source: str
    result: str
    headline: Sequence[tuple[str, Markup]]
    body: Sequence[Markup | Picture]

    @property
    def pictures(self) -> list[Picture]:
        """Its pictures, in their order."""
        return [part for part in self.body if isinstance(part, Picture)]

    def to_html(self, anchor: str) -> Markup:
        """Return the section as HTML."""
        tiles = (
            tag("div", tag("b", value), tag("span", name), class_="tile")
            for name, value in self.headline
        )
        return tag(
            "section",
            tag("h2", self.title, " ", tag("small", self.source)),
            tag("p", unbroken(self.result), class_="result"),
            tag("div", *tiles, class_="tiles"),
            *_laid_out(self.body),
            id=anchor,
        )


def unbroken(sentence: str) -> str:
    """Return a sentence whose figures stay on the line of their unit."""
    return sentence.replace(" %", "\N{NO-BREAK SPACE}%")


def _laid_out(body: Sequence[Markup | Picture]) -> Iterator[Markup]:
    """Yield what is on the page; pictures that follow one another share a row."""
    for drawn, parts in groupby(body, lambda part: isinstance(part, Picture)):
        if drawn:
            figures = (one.to_html() for one in parts if isinstance(one, Picture))
            yield tag("div", *figures, class_="pictures")
        else:
            yield from (one for one in parts if isinstance(one, Markup))


Render = Callable[[Artifact[Any], Sequence[object]], Section]
"""Makes the section of an artifact; the second argument is what all of them hold."""
