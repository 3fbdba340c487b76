"""A subset against as many experts that were not chosen for its task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from emo_prune.reports.page.cells import NONE
from emo_prune.reports.page.comparison import change, interval, on_a_line, unit
from emo_prune.reports.page.figures import scaled
from emo_prune.reports.page.markup import Markup
from emo_prune.reports.page.picture import Picture
from emo_prune.reports.page.tables import table

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
    ahead = f"ahead ({unit(value['comparison'])})"
    rows = []
    for control in controls:
        name = control["name"]
        for category, found in _differences(control):
            figure = scaled(found["baseline"], value)
            rows.append((name, category, figure, change(found), interval(found)))
        for seed, one in zip(control["seeds"], control["values"], strict=False):
            rows.append((name, f"seed {seed}", scaled(one, value), NONE, NONE))
    columns = ("control", "category", "its figure", ahead, "95 % interval")
    return table("Controls", columns, rows)


def _differences(control: Value) -> Iterator[tuple[str, Value]]:
    """Yield each category and, of several, their mean."""
    categories: Sequence[Value] = control["categories"]
    yield from ((found["name"], found) for found in categories)
    if len(categories) > 1:
        yield "mean", control["headline"]
