"""What an artifact becomes on the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emo_prune.report.page.artifacts import Artifact
from emo_prune.report.page.markup import Markup, tag


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A titled part of the page.

    source: the name of the artifact it shows.
    headline: the few figures that matter most, each with its name.
    """

    title: str
    source: str
    headline: Sequence[tuple[str, Markup]]
    body: Sequence[Markup]

    def to_html(self, anchor: str) -> Markup:
        """Return the section as HTML."""
        tiles = (
            tag("div", tag("b", value), tag("span", name), class_="tile")
            for name, value in self.headline
        )
        return tag(
            "section",
            tag("h2", self.title, " ", tag("small", self.source)),
            tag("div", *tiles, class_="tiles"),
            *self.body,
            id=anchor,
        )


Render = Callable[[Artifact, Sequence[Artifact]], Section]
"""Makes the section of an artifact; the second argument is all that is on the page."""
