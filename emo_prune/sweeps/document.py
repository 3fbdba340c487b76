"""`sweep.json`: what a sweep over tasks, budgets and scores found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta
from msgspec.structs import replace

from emo_prune.artifacts import (
    Count,
    Document,
    Part,
    Positive,
    Sha256,
    data_frame,
    html_table,
)
from emo_prune.errors import EmoPruneError, ReportError
from emo_prune.evaluation.statistics import (
    CONFIDENCE,
    Estimate,
    interval,
    mean_of,
    two_sided,
)
from emo_prune.facts import SourceModel, Versions

if TYPE_CHECKING:
    from pandas import DataFrame


class SweepSettings(Part, frozen=True, kw_only=True):
    """What decides prompts and choices.

    seed: chooses calibration examples and random experts. limit: documents of each
    lm-eval task; None is all.
    """

    answer: Literal["letter", "text"]
    protocol: Literal["standard", "emo"]
    seed: Count
    limit: Positive | None
    lower_top_k: bool
    dtype: str


class SweptTask(Part, frozen=True, kw_only=True):
    """A column: one task, with the figures that its results have in common.

    name: canonical, such as mmlu:math. short: as a heading. in_mean: whether it counts
    in the mean over tasks (`other` of MMLU does not, unless it is alone). n: questions
    scored. prompts_sha256: of every string the full model was given. documents_sha256:
    of every document's hash and gold answer.
    """

    name: str
    short: str
    in_mean: bool
    metric: str
    higher_is_better: bool
    n: Positive
    num_fewshot: Count
    prompts_sha256: Sha256
    documents_sha256: Sha256


class SweptCalibration(Part, frozen=True, kw_only=True):
    """What one task's experts were chosen on.

    size: the number of examples that was asked for, or all; num_examples: as many as
    there were.
    """

    task: str
    size: str
    num_examples: Positive
    num_tokens: Positive
    tokens_sha256: Sha256


class SweptBudget(Part, frozen=True, kw_only=True):
    """How many experts stay in each layer, shared ones included.

    keep: as asked for. num_bytes: of the weights that an export would hold.
    """

    keep: str
    num_experts: Positive
    num_experts_per_tok: Positive
    num_bytes: Positive


class Cell(Part, frozen=True, kw_only=True):
    """One model on one task, or the mean over tasks (`task` None).

    `difference` is against the full model on the same questions and `interval` its
    paired 95 % interval, in points (bits per byte and the like in their own unit);
    `recovery` is in per cent. All three are None for the full model itself.
    selection_sha256: of the selection.json that `select` would write.
    """

    task: str | None
    value: float
    stderr: float | None
    n: Positive
    difference: float | None = None
    interval: tuple[float, float] | None = None
    recovery: float | None = None
    selection_sha256: str | None = None


class Row(Part, frozen=True, kw_only=True):
    """A model on every task: the full one, a budget's subsets, or another model.

    A subset is one of each task: `keep`, `num_experts`, `score` and `calibration` (the
    size asked for) are None for what is no subset. `mean` is None if the tasks' figures
    rise for some and fall for others. num_bytes: of the weights.
    """

    model: str
    num_bytes: Positive
    keep: str | None = None
    num_experts: Positive | None = None
    score: str | None = None
    calibration: str | None = None
    cells: Annotated[tuple[Cell, ...], Meta(min_length=1)]
    mean: Cell | None


class Sweep(Document, frozen=True, kw_only=True, tag="emo-prune/sweep/1"):
    """A sweep: the full model, then a row for each score, size and budget.

    calibrations: for each task one of each size. subsets: for each score, each size of
    calibration and each budget. others: the models given by `also`.
    """

    error: ClassVar[type[EmoPruneError]] = ReportError
    made_by: ClassVar[str] = "sweep"

    model: SourceModel
    settings: SweepSettings
    tasks: Annotated[tuple[SweptTask, ...], Meta(min_length=1)]
    calibrations: tuple[SweptCalibration, ...]
    budgets: Annotated[tuple[SweptBudget, ...], Meta(min_length=1)]
    scores: Annotated[tuple[str, ...], Meta(min_length=1)]
    full: Row
    subsets: tuple[Row, ...]
    others: tuple[Row, ...]
    versions: Versions

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.tasks):
                raise ValueError(
                    f"{row.model} has {len(row.cells)} cells for "
                    f"{len(self.tasks)} tasks"
                )

    @property
    def rows(self) -> tuple[Row, ...]:
        """The full model, its subsets, and the other models."""
        return (self.full, *self.subsets, *self.others)

    def to_pandas(self) -> DataFrame:
        """Return a table with a line for each of `rows`, as a pandas DataFrame.

        Columns: model, keep, num_experts, score, calibration, num_bytes; each task's
        value, by its short name; mean.

        Raises:
            ReportError: pandas is not installed.
        """
        facts = ("model", "keep", "num_experts", "score", "calibration", "num_bytes")
        return data_frame([
            {
                **{name: getattr(row, name) for name in facts},
                **dict(zip(self._columns, self._values(row), strict=True)),
            }
            for row in self.rows
        ])  # fmt: skip

    def __repr__(self) -> str:
        return (
            f"Sweep({self.model.name} on {len(self.tasks)} tasks, "
            f"{len(self.subsets)} subsets, {len(self.others)} other models)"
        )

    def _repr_html_(self) -> str:
        names = ("model", "keep", "score", "calibration")
        return html_table(
            (*names, *self._columns),
            [
                [
                    *(getattr(row, name) or "" for name in names),
                    *("" if x is None else f"{x:.4f}" for x in self._values(row)),
                ]
                for row in self.rows
            ],
        )

    @property
    def _columns(self) -> list[str]:
        return [*(task.short for task in self.tasks), "mean"]

    def _values(self, row: Row) -> list[float | None]:
        return [
            *(cell.value for cell in row.cells),
            None if row.mean is None else row.mean.value,
        ]


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
    head = mean_of([
        Estimate(value=cell.value, stderr=cell.stderr, n=cell.n) for _, cell in counted
    ])  # fmt: skip
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


def _difference(cell: Cell) -> Estimate:
    """Return a cell's difference, its standard error taken from the interval."""
    error = None
    if cell.interval is not None:
        low, high = cell.interval
        error = (high - low) / (2 * two_sided(CONFIDENCE))
    return Estimate(value=cell.difference or 0.0, stderr=error, n=cell.n)
