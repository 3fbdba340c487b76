"""A picture as an SVG file of its own, which needs no style sheet."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from functools import cache
from importlib import resources
from xml.etree import ElementTree

import emo_prune
from emo_prune.reports.page.axis import coordinate
from emo_prune.reports.page.markup import Markup, tag
from emo_prune.reports.page.picture import Picture, words

_FONT = 'system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif'
_EDGE, _LINE = 12.0, 17.0
_LETTER = 7.2  # of the title, about
_VARIABLE = re.compile(r"--([\w-]+):\s*([^;]+);")
_RULE = re.compile(r"\.([\w-]+)\s*\{([^}]*)\}")
_DECLARATION = re.compile(r"([\w-]+):\s*([^;]+);")
SVG = "http://www.w3.org/2000/svg"


def standalone(picture: Picture) -> str:
    """Return the SVG file of a picture: on light paper, its title above it.

    Every colour and size is an attribute of what it is for, as any program reads it.
    """
    title = textwrap.wrap(picture.title, int(picture.width / _LETTER)) or [""]
    top = _EDGE + _LINE * len(title) + 4
    width, height = picture.width + 2 * _EDGE, top + picture.height + _EDGE
    lines = (
        words(_EDGE, coordinate(_EDGE + _LINE * n + 11), line, kind="heading")
        for n, line in enumerate(title)
    )
    drawn = tag(
        "svg",
        tag("title", picture.title),
        tag("rect", width=width, height=height, class_="sheet"),
        *lines,
        tag("g", *picture.shapes, transform=f"translate({_EDGE:g} {top:g})"),
        viewBox=f"0 0 {coordinate(width)} {coordinate(height)}",
        width=coordinate(width),
        height=coordinate(height),
        font_family=_FONT,
        xmlns=SVG,
    )
    return f"<!-- emo-prune {emo_prune.__version__} -->\n{_resolved(drawn)}\n"


def _resolved(drawn: Markup) -> str:
    """Return SVG whose classes have become the attributes that they stand for."""
    ElementTree.register_namespace("", SVG)
    root = ElementTree.fromstring(drawn)
    for element in root.iter():
        for name in element.attrib.pop("class", "").split():
            element.attrib.update(_looks()[name])
    return ElementTree.tostring(root, encoding="unicode")


@cache
def _looks() -> Mapping[str, Mapping[str, str]]:
    """Return the attributes of each class of `picture.css`, in light colours."""
    light = _text("colours.css").split("@media")[0]
    colours = dict(_VARIABLE.findall(light))
    return {
        name: {
            key: re.sub(r"var\(--([\w-]+)\)", lambda found: colours[found[1]], value)
            for key, value in _DECLARATION.findall(rule)
        }
        for name, rule in _RULE.findall(_text("picture.css"))
    }


def _text(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")
