"""Tables that sort, and lists of facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from emo_prune.reports.page.cells import code, number
from emo_prune.reports.page.markup import Markup, joined, tag

Row = Sequence[object]


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
