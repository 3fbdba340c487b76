"""The section of an evaluation: figures by category, and against the baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from emo_prune.artifacts import json_schema
from emo_prune.evaluation import Results
from emo_prune.evaluation.figures import metric_name
from emo_prune.reports.page.artifacts import Artifact
from emo_prune.reports.page.cells import decimals, number
from emo_prune.reports.page.checked import checked
from emo_prune.reports.page.comparison import (
    columns_of,
    comparison_headline,
    comparison_part,
    difference_cells,
)
from emo_prune.reports.page.controls import controls_part
from emo_prune.reports.page.dot_plot import Dot, dot_plot
from emo_prune.reports.page.figures import interval_of, scale_of, scaled, unit_of
from emo_prune.reports.page.flips import flips_part
from emo_prune.reports.page.gates import gates_headline, gates_part, verdicts_of
from emo_prune.reports.page.markup import Markup
from emo_prune.reports.page.picture import Picture
from emo_prune.reports.page.section import Section
from emo_prune.reports.page.tables import details, facts, table

Value = Mapping[str, Any]


def results_section(artifact: Artifact, beside: Sequence[Artifact]) -> Section:
    """Return each category's figure, what was lost, and which questions flipped.

    Raises:
        ReportError: it breaks its schema.
    """
    value = checked(artifact, json_schema(Results.schema))
    compared, verdicts = value.get("comparison"), verdicts_of(value)
    body: list[Markup | Picture] = [_plot(value), _table(value)]
    if compared is not None:
        body.insert(1, comparison_part(compared))
        body += controls_part(value)
        body += flips_part(artifact, beside)
    return Section(
        title=f"Evaluation: {value['model']} on {value['task']}",
        source=artifact.name,
        headline=[
            (unit_of(value), scaled(value["value"], value)),
            *gates_headline(verdicts),
            *(comparison_headline(compared) if compared is not None else ()),
            ("questions", number(value["n"])),
        ],
        body=[
            *gates_part(verdicts),
            *body,
            details("Every lm-eval task", _tasks(value)),
            details("Every metric", _metrics(value)),
            details("Settings", facts({
                **value["settings"],
                "prompts cut on the left": value["num_truncated"],
            })),
            details("Provenance", facts({
                "sha256 of the file": artifact.sha256,
                "sha256 of prompts": value["prompts_sha256"],
                "sha256 of documents": value["documents_sha256"],
                "versions": value["versions"],
            })),
        ],
    )  # fmt: skip


def _figures(value: Value) -> Iterator[tuple[str, Value]]:
    """Yield each category and, of several, their mean."""
    for category in value["categories"]:
        outside = "" if category["in_headline"] else " (outside the mean)"
        yield category["name"] + outside, category
    if len(value["categories"]) > 1:
        yield "mean", value


def _plot(value: Value) -> Picture:
    scale = scale_of(value)
    compared = value.get("comparison") or {"categories": (), "headline": None}
    against = {found["name"]: found for found in compared["categories"]}
    dots = []
    for label, figure in _figures(value):
        found = against.get(figure.get("name"))
        if figure is value:
            found = compared["headline"]
        before = None if found is None else found["baseline"] * scale
        shown = f"{figure['value'] * scale:.2f}"
        dots.append(
            Dot(
                label=label,
                text=shown if before is None else f"{shown}, baseline {before:.2f}",
                value=figure["value"] * scale,
                interval=interval_of(figure, scale),
                other=before,
            )
        )
    words = "Bars are normal 95 % intervals of the standard error."
    if against:
        words += " Hollow dots are the baseline."
    title = f"{unit_of(value).capitalize()} by category"
    return dot_plot("categories", title, dots, words)


def _table(value: Value) -> Markup:
    compared = value.get("comparison")
    titles = ["category", metric_name(value["metric"]), "stderr", "n"]
    against: dict[str, Value] = {}
    if compared is not None:
        titles += columns_of(compared)
        against = {found["name"]: found for found in compared["categories"]}
    rows = []
    for label, figure in _figures(value):
        cells = [scaled(figure["value"], value), scaled(figure["stderr"], value)]
        row: list[object] = [label, *cells, number(figure["n"])]
        if compared is not None:
            found = against.get(figure.get("name", ""))
            if figure is value:
                found = compared["headline"]
            row += difference_cells(found, compared)
        rows.append(row)
    several = len(value["categories"]) > 1
    caption = f"{metric_name(value['metric']).capitalize()} by category"
    return table(caption, titles, *((rows[:-1], rows[-1:]) if several else (rows,)))


def _tasks(value: Value) -> Markup:
    rows = [
        (
            task["name"],
            task["category"],
            task["metric"],
            number(task["value"], f"{task['value']:.4f}"),
            decimals(task["stderr"], 4),
            number(task["n"]),
        )
        for task in value["tasks"]
    ]
    columns = ("lm-eval task", "category", "metric", "value", "stderr", "n")
    return table("lm-eval tasks", columns, rows)


def _metrics(value: Value) -> Markup:
    rows = [
        (task["name"], metric, decimals(found, 4))
        for task in value["tasks"]
        for metric, found in task["metrics"].items()
    ]
    return table("All that lm-eval reports", ("lm-eval task", "metric", "value"), rows)
