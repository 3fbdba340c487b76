"""HTML and SVG as text that cannot be confused with what it shows; tables and facts."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence

_VOID = frozenset({"meta"})
# What HTML has no way to write, and what turns the direction of text about.
_NOT_TEXT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
    "\ud800-\udfff\ufffe\uffff]"
)

Child = object
Row = Sequence[object]


class Markup(str):
    """Text that is HTML already; any other text is escaped before it goes in."""

    __slots__ = ()


NONE = Markup("-")


def escape(value: object) -> Markup:
    """Return a value as HTML text: itself if it is `Markup`, nothing for None.

    Characters that are not shown as what they are become U+FFFD: controls, marks of
    direction, halves of surrogate pairs.
    """
    if isinstance(value, Markup):
        return value
    text = "" if value is None else str(value)
    return Markup(html.escape(_NOT_TEXT.sub("\ufffd", text)))


def tag(name: str, /, *children: Child, **attributes: object) -> Markup:
    """Return an element; an attribute that is None is left out.

    Attributes are written as Python names: `class_`, `data_value`, `viewBox`.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{joined(*children)}</{name}>")


def joined(*children: Child) -> Markup:
    """Return all children, one after the other."""
    return Markup("".join(escape(child) for child in children))


def number(value: float | None, text: str | None = None) -> Markup:
    """Return `text` (or the number itself), which carries the JSON's exact number.

    The exact number sorts the table and shows when it is pointed at.
    """
    if value is None:
        return NONE
    exact = json.dumps(value)
    shown = f"{value:,}" if text is None else text
    return tag("data", shown, value=exact, title=exact)


def share(value: float | None) -> Markup:
    """Return a share of one in per cent."""
    return NONE if value is None else number(value, f"{100 * value:.1f} %")


def decimals(value: float | None, places: int, *, sign: bool = False) -> Markup:
    """Return a number with so many places, with its sign if that is asked for."""
    if value is None:
        return NONE
    return number(value, f"{value:+.{places}f}" if sign else f"{value:.{places}f}")


def code(value: object) -> Markup:
    """Return a hash, an id or a file's name, in the type of code."""
    return NONE if value is None else tag("code", value)


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Row],
    footer: Iterable[Row] = (),
) -> Markup:
    """Return a table whose body the page's script can sort; the footer stays put."""
    found = list(rows)
    kinds = [_kind(cell) for cell in found[0]] if found else [None] * len(columns)
    titles = (
        tag("th", column, scope="col", class_=kind)
        for column, kind in zip(columns, kinds, strict=True)
    )
    last = [_row(row) for row in footer]
    whole = tag(
        "table",
        tag("caption", tag("span", caption)),
        tag("thead", tag("tr", *titles)),
        tag("tbody", *(_row(row) for row in found)),
        tag("tfoot", *last) if last else None,
        class_="sortable",
    )
    return tag("div", whole, class_="scroll")


def _row(cells: Row) -> Markup:
    first, *others = cells
    rest = (tag("td", cell, class_=_kind(cell)) for cell in others)
    return tag("tr", tag("th", first, scope="row"), *rest)


def _kind(cell: object) -> str | None:
    """Return the class of a cell; words stand to the left, numbers to the right."""
    words = not isinstance(cell, Markup) or cell.startswith(
        ("<code", "<strong", "<div")
    )
    return "words" if words else None


def facts(values: Mapping[str, object]) -> Markup:
    """Return names and values; mappings and lists in the values are nested."""
    pairs = (
        joined(tag("dt", name), tag("dd", _fact(value)))
        for name, value in values.items()
    )
    return tag("dl", *pairs)


def _fact(value: object) -> object:
    if isinstance(value, Mapping):
        return facts({str(name): item for name, item in value.items()})
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, list | tuple):
        return joined(*(tag("div", _fact(item)) for item in value)) or "none"
    if value is None:
        return "none"
    if isinstance(value, str) and value.startswith("sha256:"):
        return code(value)
    return value


def details(summary: str, *children: object) -> Markup:
    """Return what is shown when its summary is clicked."""
    return tag("details", tag("summary", summary), *children)


def note(*children: object) -> Markup:
    """Return a line of small print."""
    return tag("p", *children, class_="note")
