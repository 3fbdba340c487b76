"""The section of a sweep: what every budget and score keeps of each task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from emo_prune.errors import ReportError
from emo_prune.reports.page.artifacts import Artifact
from emo_prune.reports.page.cells import code, number
from emo_prune.reports.page.checked import checked
from emo_prune.reports.page.markup import Markup, joined
from emo_prune.reports.page.section import Section
from emo_prune.reports.page.sweep_plots import sweep_plots
from emo_prune.reports.page.sweep_tables import (
    accuracy_table,
    change,
    difference_table,
    figure,
    frontier_table,
    other_sizes,
)
from emo_prune.reports.page.tables import details, facts, note, table
from emo_prune.reports.swept import (
    mean_scale,
    metrics_of,
    row_label,
    rows_of,
    smallest,
)
from emo_prune.sweeps.document import Sweep, sweep_schema

_WORDS = (
    "Mean: over tasks, each weighing the same. Drop: the mean difference from the full "
    "model on the same questions. Tinted: lost more than chance explains (the paired "
    "95 % interval lies below zero), the darker the more. Each task's own experts "
    "answer its questions."
)
_FRONTIER = (
    "On the frontier: none here does as well with fewer bytes, or better with as many."
)


def sweep_section(artifact: Artifact, beside: Sequence[Artifact]) -> Section:
    """Return the table of budgets and tasks, what size costs, and the frontier.

    Raises:
        ReportError: it breaks its schema, or a row does not have a cell for each task.
    """
    del beside
    sweep = Sweep.from_dict(checked(artifact, sweep_schema()))
    _refuse_ragged(sweep, artifact.name)
    return Section(
        title=f"Sweep: {sweep.model['name']} on {len(sweep.tasks)} tasks",
        source=artifact.name,
        headline=list(_headline(sweep)),
        body=[
            accuracy_table(sweep),
            note(_WORDS),
            *other_sizes(sweep),
            *sweep_plots(sweep),
            frontier_table(sweep),
            note(_FRONTIER),
            details("Differences, with their intervals", difference_table(sweep)),
            details("Tasks", _tasks(sweep)),
            details("What experts were chosen on", _calibrations(sweep)),
            details("Settings", facts(sweep.settings)),
            details("Provenance", facts({
                "sha256 of the file": artifact.sha256,
                "model": sweep.model,
                "versions": sweep.versions,
            })),
        ],
    )  # fmt: skip


def _refuse_ragged(sweep: Sweep, name: str) -> None:
    for row in rows_of(sweep):
        if len(row.cells) != len(sweep.tasks):
            raise ReportError(
                "a row of a sweep does not have a cell for each task",
                where=f"{name}, {row.model}",
                got=f"{len(row.cells)} cells",
                expected=f"{len(sweep.tasks)} tasks",
                hint="run the sweep again; finished cells are not computed anew",
            )


def _headline(sweep: Sweep) -> Iterator[tuple[str, Markup]]:
    """Yield the full model's mean, and that of the smallest budget."""
    scale = mean_scale(sweep)
    unit = " %" if scale > 1 else ""
    if sweep.full.mean is not None:
        value = figure(sweep.full.mean, scale)
        yield f"{metrics_of(sweep)}, full model", joined(value, unit)
    small = smallest(sweep)
    if small is not None and small.mean is not None:
        value = figure(small.mean, scale)
        yield f"{metrics_of(sweep)}, {row_label(sweep, small)}", joined(value, unit)
        unit = "points" if scale > 1 else metrics_of(sweep)
        yield f"{unit} against the full model", change(small.mean)
        share = small.num_bytes / sweep.full.num_bytes
        yield "of the bytes", number(share, f"{share:.1%}")
    yield "questions", number(sum(task.n for task in sweep.tasks))


def _tasks(sweep: Sweep) -> Markup:
    rows = [
        (
            task.name,
            task.metric,
            number(task.n),
            number(task.num_fewshot),
            "yes" if task.in_mean else "no",
            code(task.prompts_sha256),
            code(task.documents_sha256),
        )
        for task in sweep.tasks
    ]
    columns = ["task", "metric", "questions", "demonstrations", "in the mean"]
    columns += ["sha256 of prompts", "sha256 of documents"]
    return table("Tasks", columns, rows)


def _calibrations(sweep: Sweep) -> Markup:
    rows = [
        (one.task, one.size, number(one.num_examples), number(one.num_tokens))
        for one in sweep.calibrations
    ]
    return table("Calibration", ("task", "asked for", "examples", "tokens"), rows)
