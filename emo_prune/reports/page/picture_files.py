"""The pictures of a page as files of their own: SVG, and PNG of the same."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from emo_prune.reports.page.artifacts import Section
from emo_prune.reports.page.markup import Markup, tag
from emo_prune.reports.page.painted import painted, refuse_without_painter
from emo_prune.reports.page.picture import Picture, coordinate, text
from emo_prune.version import __version__

_MARK = b"emo-prune "
_LONGEST = 100  # letters, of what a name says of the artifact
_START = 300  # bytes; both formats name their program in them

_FONT = 'system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif'
_EDGE, _LINE = 12.0, 17.0
_LETTER = 7.2  # of the title, about
_VARIABLE = re.compile(r"--([\w-]+):\s*([^;]+);")
_RULE = re.compile(r"\.([\w-]+)\s*\{([^}]*)\}")
_DECLARATION = re.compile(r"([\w-]+):\s*([^;]+);")
_SVG = "http://www.w3.org/2000/svg"


def picture_files(
    sections: Sequence[Section], *, png: bool = False
) -> Mapping[str, str | bytes]:
    """Return each picture's files by name: SVG, and PNG too if that is asked for.

    A name is made of the artifact's and the picture's own: `sweep-frontier.svg`.

    Raises:
        ReportError: PNG needs matplotlib.
    """
    if png:
        refuse_without_painter()
    files: dict[str, str | bytes] = {}
    for section in sections:
        for picture in section.pictures:
            stem = _free(f"{_slug(section.source)}-{picture.name}", files)
            files[f"{stem}.svg"] = svg = standalone(picture)
            if png:
                files[f"{stem}.png"] = painted(svg)
    return files


def is_picture(file: Path) -> bool:
    """Tell whether a file is a picture that this made, and may so be made anew."""
    try:
        with file.open("rb") as data:
            return _MARK in data.read(_START)
    except OSError:
        return False


def standalone(picture: Picture) -> str:
    """Return the SVG file of a picture: on light paper, its title above it.

    Every colour and size is an attribute of what it is for, as any program reads it.
    """
    title = textwrap.wrap(picture.title, int(picture.width / _LETTER)) or [""]
    top = _EDGE + _LINE * len(title) + 4
    width, height = picture.width + 2 * _EDGE, top + picture.height + _EDGE
    lines = (
        text(_EDGE, _EDGE + _LINE * n + 11, line, kind="heading")
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
        xmlns=_SVG,
    )
    return f"<!-- emo-prune {__version__} -->\n{_resolved(drawn)}\n"


def _slug(source: str) -> str:
    """Return a name for files; folders, and what an export holds, are in it too."""
    path, _, part = source.partition(", ")
    whole = f"{PurePosixPath(path).with_suffix('')} {part}"
    return re.sub(r"[^A-Za-z0-9]+", "-", whole).strip("-").lower()[:_LONGEST]


def _free(stem: str, files: Mapping[str, object]) -> str:
    """Return a stem that no other picture has."""
    found, n = stem, 1
    while f"{found}.svg" in files:
        found, n = f"{stem}-{n + 1}", n + 1
    return found


def _resolved(drawn: Markup) -> str:
    """Return SVG whose classes have become the attributes that they stand for."""
    ElementTree.register_namespace("", _SVG)
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
