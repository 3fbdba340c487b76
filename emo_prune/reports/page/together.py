"""Several evaluations on the same prompts, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from emo_prune.evaluation.figures import metric_name
from emo_prune.reports.gates import gate_name, gate_outcome
from emo_prune.reports.page.artifacts import Artifact
from emo_prune.reports.page.cells import number
from emo_prune.reports.page.comparison import columns_of, difference_cells
from emo_prune.reports.page.dot_plot import Dot, dot_plot
from emo_prune.reports.page.figures import (
    SAME_PROMPTS,
    interval_of,
    scale_of,
    scaled,
    unit_of,
)
from emo_prune.reports.page.gates import verdicts_of
from emo_prune.reports.page.section import Section
from emo_prune.reports.page.tables import table

_WORDS = "Bars are normal 95 % intervals of the standard error."

Value = Mapping[str, Any]


def together(results: Sequence[Artifact]) -> Iterator[Section]:
    """Yield a section for each task that several models have answered.

    The artifacts are results that their schema holds for.
    """
    groups: dict[tuple[str, ...], list[Artifact]] = {}
    for one in results:
        groups.setdefault(tuple(one.value[key] for key in SAME_PROMPTS), []).append(one)
    for found in groups.values():
        if len(found) > 1:
            yield _section([one.value for one in found], found)


def _section(values: Sequence[Value], found: Sequence[Artifact]) -> Section:
    first = values[0]
    title = f"{unit_of(first).capitalize()} of {len(values)} models on {first['task']}"
    return Section(
        title=f"Evaluations together: {len(values)} models on {first['task']}",
        source=f"{found[0].name} and {len(found) - 1} more",
        headline=[("questions", number(first["n"]))],
        body=[dot_plot("models", title, list(map(_dot, values)), _WORDS),
              _table(values)],
    )  # fmt: skip


def _dot(value: Value) -> Dot:
    figure = value["value"] * scale_of(value)
    return Dot(
        label=value["model"],
        text=f"{figure:.2f}",
        value=figure,
        interval=interval_of(value, scale_of(value)),
    )


def _table(values: Sequence[Value]) -> Any:
    compared = [value["comparison"] for value in values if "comparison" in value]
    columns = ["model", metric_name(values[0]["metric"]), "stderr"]
    if compared:
        columns += [*columns_of(compared[0]), "gates"]
    rows = []
    for value in values:
        row = [value["model"], scaled(value["value"], value),
               scaled(value["stderr"], value)]  # fmt: skip
        if compared:
            own = value.get("comparison")
            head = None if own is None else own["headline"]
            row += [*difference_cells(head, compared[0]), _gates(value)]
        rows.append(row)
    return table("One row for each model", columns, rows)


def _gates(value: Value) -> str:
    judged = (f"{gate_name(v)} {gate_outcome(v)}" for v in verdicts_of(value))
    return ", ".join(judged) or "none"
