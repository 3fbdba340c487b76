"""HTML and SVG as text that cannot be confused with what it shows."""

from __future__ import annotations

import html
import re

_VOID = frozenset({"meta"})
_NOT_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]")


class Markup(str):
    """Text that is HTML already; any other text is escaped before it goes in."""

    __slots__ = ()


Child = object


def escape(value: object) -> Markup:
    """Return a value as HTML text: itself if it is `Markup`, nothing for None.

    Control characters, which HTML has no way to write, become U+FFFD.
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
