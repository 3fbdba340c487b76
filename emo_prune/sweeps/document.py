"""What a sweep over tasks, budgets and scores found, and its JSON form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from importlib import resources
from typing import Any

from emo_prune.artifacts import plain
from emo_prune.errors import StaleRun
from emo_prune.evaluation.compare import compare
from emo_prune.evaluation.results import Results
from emo_prune.evaluation.statistics import (
    CONFIDENCE,
    Estimate,
    interval,
    mean_of,
    two_sided,
)
from emo_prune.files import readable_json

SCHEMA = "emo-prune/sweep/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptTask:
    """A column: one task, with the figures that its results have in common.

    `in_mean`: whether it counts in the mean over tasks (`other` of MMLU does not).
    """

    name: str
    short: str
    in_mean: bool
    metric: str
    higher_is_better: bool
    n: int
    num_fewshot: int
    prompts_sha256: str
    documents_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptCalibration:
    """What one task's experts were chosen on; `size` is the number asked for."""

    task: str
    size: str
    num_examples: int
    num_tokens: int
    tokens_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptBudget:
    """How many experts stay in each layer, and the bytes of the weights that do."""

    keep: str
    num_experts: int
    num_experts_per_tok: int
    num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One model on one task, or the mean over tasks (`task` None).

    `difference` is against the full model on the same questions and `interval` its
    paired 95 % interval, in points (bits per byte and the like in their own unit);
    `recovery` is in per cent. All three are None for the full model itself.
    """

    task: str | None
    value: float
    stderr: float | None
    n: int
    difference: float | None = None
    interval: tuple[float, float] | None = None
    recovery: float | None = None
    selection_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A model on every task: the full one, a budget's subsets, or another model.

    A subset is one of each task: `keep`, `num_experts`, `score` and `calibration` (the
    size asked for) are None for what is no subset. `mean` is None if the tasks' figures
    rise for some and fall for others.
    """

    model: str
    num_bytes: int
    keep: str | None
    num_experts: int | None
    score: str | None
    calibration: str | None
    cells: tuple[Cell, ...]
    mean: Cell | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep: `full`, then a row for each budget, score and size of calibration."""

    model: Mapping[str, Any]
    settings: Mapping[str, Any]
    tasks: tuple[SweptTask, ...]
    calibrations: tuple[SweptCalibration, ...]
    budgets: tuple[SweptBudget, ...]
    scores: tuple[str, ...]
    full: Row
    subsets: tuple[Row, ...]
    others: tuple[Row, ...]
    versions: Mapping[str, str]

    def to_json(self) -> str:
        """Return the text of sweep.json, which `sweep.schema.json` describes."""
        return readable_json({"schema": SCHEMA, **plain(asdict(self))})

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Sweep:
        """Read a JSON object that the schema holds for."""
        own = {field.name: value[field.name] for field in fields(cls)}
        return cls(
            **own
            | {
                "tasks": tuple(SweptTask(**one) for one in value["tasks"]),
                "calibrations": tuple(
                    SweptCalibration(**one) for one in value["calibrations"]
                ),
                "budgets": tuple(SweptBudget(**one) for one in value["budgets"]),
                "scores": tuple(value["scores"]),
                "full": _row(value["full"]),
                "subsets": tuple(map(_row, value["subsets"])),
                "others": tuple(map(_row, value["others"])),
            }
        )


@cache
def sweep_schema() -> dict[str, Any]:
    """Return the JSON Schema of sweep.json, as shipped in the package."""
    file = resources.files("emo_prune.sweeps") / "sweep.schema.json"
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema


def swept_task(name: str, short: str, in_mean: bool, full: Results) -> SweptTask:
    """Return a task's column, from the full model's results."""
    return SweptTask(
        name=name,
        short=short,
        in_mean=in_mean,
        metric=full.metric,
        higher_is_better=full.higher_is_better,
        n=full.n,
        num_fewshot=full.settings.num_fewshot,
        prompts_sha256=full.prompts_sha256,
        documents_sha256=full.documents_sha256,
    )


def full_cell(task: SweptTask, full: Results) -> Cell:
    """Return the full model's cell of a task."""
    return Cell(task=task.name, value=full.value, stderr=full.stderr, n=full.n)


def compared_cell(
    task: SweptTask, results: Results, full: Results, selection_sha256: str | None
) -> Cell:
    """Return a cell with its difference from the full model's.

    Raises:
        StaleRun: the two have answered other documents.
    """
    if results.documents_sha256 != full.documents_sha256:
        raise StaleRun(
            "the data of a task changed while the sweep was interrupted",
            where=task.name,
            got="results on other documents than the full model's",
            hint="start over with --force, or choose another place with -o",
        )
    head = compare(results, full).headline
    return Cell(
        task=task.name,
        value=results.value,
        stderr=results.stderr,
        n=results.n,
        difference=head.difference,
        interval=head.interval,
        recovery=head.recovery,
        selection_sha256=selection_sha256,
    )


def mean_cell(
    tasks: Sequence[SweptTask], cells: Sequence[Cell], full: Cell | None = None
) -> Cell | None:
    """Return the unweighted mean over the tasks that count, variances added.

    `full` is the full model's mean, None for its own. The result is None if figures
    rise for some tasks and fall for others.
    """
    pairs = zip(tasks, cells, strict=True)
    counted = [(task, cell) for task, cell in pairs if task.in_mean]
    if len({task.higher_is_better for task, _ in counted}) != 1:
        return None
    head = mean_of([_estimate(cell) for _, cell in counted])
    found = Cell(task=None, value=head.value, stderr=head.stderr, n=head.n)
    if full is None:
        return found
    apart = mean_of([_difference(cell) for _, cell in counted])
    part, whole = found.value, full.value
    if not counted[0][0].higher_is_better:
        part, whole = whole, part
    return replace(
        found,
        difference=apart.value,
        interval=interval(apart.value, apart.stderr),
        recovery=100 * part / whole if whole else None,
    )


def _row(value: Mapping[str, Any]) -> Row:
    mean = value["mean"]
    cells = tuple(map(_cell, value["cells"]))
    return Row(
        **dict(value) | {"cells": cells, "mean": None if mean is None else _cell(mean)}
    )


def _cell(value: Mapping[str, Any]) -> Cell:
    ends = value["interval"]
    return Cell(**dict(value) | {"interval": None if ends is None else tuple(ends)})


def _estimate(cell: Cell) -> Estimate:
    return Estimate(value=cell.value, stderr=cell.stderr, n=cell.n)


def _difference(cell: Cell) -> Estimate:
    """Return a cell's difference, its standard error taken from the interval."""
    error = None
    if cell.interval is not None:
        low, high = cell.interval
        error = (high - low) / (2 * two_sided(CONFIDENCE))
    return Estimate(value=cell.difference or 0.0, stderr=error, n=cell.n)
