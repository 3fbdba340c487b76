"""From the finished cells of a sweep to its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from emo_prune.architectures import bytes_keeping
from emo_prune.evaluation import Results
from emo_prune.files import versions
from emo_prune.selection import Budget, read_scores
from emo_prune.selection.chooser import source_model
from emo_prune.sweeps.cells import (
    FULL,
    Grid,
    Other,
    Subset,
    size_name,
    subset_title,
)
from emo_prune.sweeps.document import (
    Cell,
    Row,
    Sweep,
    SweptBudget,
    SweptCalibration,
    SweptTask,
    compared_cell,
    full_cell,
    mean_cell,
    swept_task,
)
from emo_prune.sweeps.state import read_cell
from emo_prune.sweeps.tasks import SweepTask

PACKAGES = ("emo-prune", "lm-eval", "transformers", "torch")


def gathered(grid: Grid, budgets: Sequence[Budget]) -> Sweep:
    """Return the sweep from the files of its finished cells alone."""
    results = [read_cell(grid.state.cell(task, FULL)) for task in grid.tasks]
    tasks = _columns(grid, results)
    cells = tuple(full_cell(*pair) for pair in zip(tasks, results, strict=True))
    full = Row(
        model=grid.whole.name,
        num_bytes=grid.opened.checkpoint.num_bytes,
        keep=None,
        num_experts=None,
        score=None,
        calibration=None,
        cells=cells,
        mean=mean_cell(tasks, cells),
    )
    against = _Against(grid=grid, tasks=tasks, results=results, full=full)
    options = grid.options
    return Sweep(
        model=source_model(grid.opened, grid.identity).to_dict(),
        settings={
            "answer": options.options.answer,
            "protocol": options.options.protocol,
            "seed": options.options.seed,
            "limit": options.limit,
            "lower_top_k": options.lower_top_k,
            "dtype": results[0].settings.dtype,
        },
        tasks=tasks,
        calibrations=tuple(
            _calibration(grid, task, size) for task in grid.tasks for size in grid.sizes
        ),
        budgets=tuple(_budget(grid, budget) for budget in budgets),
        scores=tuple(dict.fromkeys(subset.score for subset in grid.subsets)),
        full=full,
        subsets=tuple(against.subset(one) for one in grid.subsets),
        others=tuple(against.other(one) for one in grid.others),
        versions=versions(*PACKAGES),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Against:
    """The full model's results, which every other row is compared with."""

    grid: Grid
    tasks: tuple[SweptTask, ...]
    results: Sequence[Results]
    full: Row

    def subset(self, subset: Subset) -> Row:
        """Return the row of a budget, score and size: of each task its own subset."""
        selections = [
            self.grid.selection(task, subset).sha256 for task in self.grid.tasks
        ]
        cells = tuple(self._cells(subset.file, selections))
        return Row(
            model=subset_title(self.grid, subset),
            num_bytes=bytes_keeping(self.grid.opened, subset.budget.num_experts),
            keep=subset.budget.keep.text,
            num_experts=subset.budget.num_experts,
            score=subset.score,
            calibration=size_name(subset.num_examples),
            cells=cells,
            mean=mean_cell(self.tasks, cells, self.full.mean),
        )

    def other(self, other: Other) -> Row:
        """Return the row of another model."""
        cells = tuple(self._cells(other.file, [None] * len(self.tasks)))
        return Row(
            model=other.subject.name,
            num_bytes=other.num_bytes,
            keep=None,
            num_experts=None,
            score=None,
            calibration=None,
            cells=cells,
            mean=mean_cell(self.tasks, cells, self.full.mean),
        )

    def _cells(self, file: str, selections: Sequence[str | None]) -> Iterator[Cell]:
        for task, column, full, selection in zip(
            self.grid.tasks, self.tasks, self.results, selections, strict=True
        ):
            found = read_cell(self.grid.state.cell(task, file))
            yield compared_cell(column, found, full, selection)


def _columns(grid: Grid, results: Sequence[Results]) -> tuple[SweptTask, ...]:
    """Return the tasks; `other` is not in the mean, unless it is alone."""
    alone = len(grid.tasks) == 1
    return tuple(
        swept_task(
            task.name, task.slug, alone or task.scored.category != "other", found
        )
        for task, found in zip(grid.tasks, results, strict=True)
    )


def _budget(grid: Grid, budget: Budget) -> SweptBudget:
    return SweptBudget(
        keep=budget.keep.text,
        num_experts=budget.num_experts,
        num_experts_per_tok=budget.top_k,
        num_bytes=bytes_keeping(grid.opened, budget.num_experts),
    )


def _calibration(grid: Grid, task: SweepTask, size: str) -> SweptCalibration:
    facts = read_scores(grid.state.scores(task, size)).calibration
    return SweptCalibration(
        task=task.name,
        size=size,
        num_examples=facts.num_examples,
        num_tokens=facts.num_tokens,
        tokens_sha256=str(facts.tokens_sha256),
    )
