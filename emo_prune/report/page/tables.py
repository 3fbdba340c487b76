"""Tables that sort, and lists of facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from emo_prune.report.page.cells import code, number
from emo_prune.report.page.markup import Markup, joined, tag

Row = Sequence[object]


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Row],
    footer: Iterable[Row] = (),
) -> Markup:
    """Return a table whose body the page's script can sort; the footer stays put."""
    head = tag("tr", *(tag("th", column, scope="col") for column in columns))
    body = [_row(row) for row in rows]
    last = [_row(row) for row in footer]
    whole = tag(
        "table",
        tag("caption", caption),
        tag("thead", head),
        tag("tbody", *body),
        tag("tfoot", *last) if last else None,
        class_="sortable",
    )
    return tag("div", whole, class_="scroll")


def _row(cells: Row) -> Markup:
    first, *others = cells
    return tag("tr", tag("th", first, scope="row"), *(_cell(cell) for cell in others))


def _cell(cell: object) -> Markup:
    """Return a cell; words stand to the left, numbers to the right."""
    words = not isinstance(cell, Markup) or cell.startswith("<code")
    return tag("td", cell, class_="words" if words else None)


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
