"""A subset against as many experts that were not chosen for its task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from emo_prune.report.page.cells import NONE, number
from emo_prune.report.page.comparison import change, interval, on_a_line, unit
from emo_prune.report.page.figures import scale_of
from emo_prune.report.page.markup import Markup, joined
from emo_prune.report.page.picture import Picture
from emo_prune.report.page.tables import table

Value = Mapping[str, Any]

_WORDS = (
    "How much the chosen experts are ahead of others, on the same questions; bars are "
    "paired 95 % intervals. With one that crosses the line at zero other experts may "
    "have done as well. Random choices are averaged question by question."
)


def controls_part(value: Value) -> list[Markup | Picture]:
    """Return the controls of results as a picture and a table; nothing without any."""
    compared = value["comparison"]
    controls: Sequence[Value] = compared.get("controls", ())
    if not controls:
        return []
    title = f"{unit(compared).capitalize()} ahead of controls"
    heads = [(control["name"], control["headline"]) for control in controls]
    return [on_a_line("controls", title, heads, _WORDS), _table(value, controls)]


def _table(value: Value, controls: Sequence[Value]) -> Markup:
    unit_ = unit(value["comparison"])
    columns = ("control", "category", "its figure", f"ahead ({unit_})", "95 % interval")
    scale = scale_of(value)
    rows = []
    for control in controls:
        for name, found in _differences(control):
            figure = number(found["baseline"], f"{found['baseline'] * scale:.2f}")
            cells = (figure, change(found), interval(found))
            rows.append((control["name"], name, *cells))
        if len(control["values"]) > 1:
            each = [number(one, f"{one * scale:.2f}") for one in control["values"]]
            rows.append(
                (control["name"], "each choice", joined(*_spaced(each)), NONE, NONE)
            )
    return table("Controls", columns, rows)


def _differences(control: Value) -> Iterator[tuple[str, Value]]:
    """Yield each category and, of several, their mean."""
    categories: Sequence[Value] = control["categories"]
    yield from ((found["name"], found) for found in categories)
    if len(categories) > 1:
        yield "mean", control["headline"]


def _spaced(cells: Sequence[Markup]) -> Iterator[Markup | str]:
    for position, cell in enumerate(cells):
        yield from ((", ", cell) if position else (cell,))
