"""From the finished cells of a sweep to its document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emo_prune.architectures import bytes_keeping
from emo_prune.errors import Parameter, StaleRun
from emo_prune.evaluation import Results, compare
from emo_prune.facts import SCORING
from emo_prune.files import versions
from emo_prune.selection import Budget, source_model
from emo_prune.selection.scores import score_packages
from emo_prune.sweeps.document import (
    Cell,
    Row,
    Sweep,
    SweepSettings,
    SweptBudget,
    SweptCalibration,
    SweptTask,
    mean_cell,
)
from emo_prune.sweeps.grid import Grid, OtherModel, Subset, SweepTask
from emo_prune.sweeps.state import SweepState


def gathered(grid: Grid, state: SweepState) -> Sweep:
    """Return the sweep from the files of its finished cells alone.

    Raises:
        StaleRun: a file is damaged, or cells have answered other documents.
    """
    results = [state.results(task, None) for task in grid.tasks]
    tasks = _columns(grid, results)
    cells = tuple(map(_full_cell, tasks, results))
    full = Row(
        model=grid.model.name,
        num_bytes=grid.opened.checkpoint.num_bytes,
        cells=cells,
        mean=mean_cell(tasks, cells),
    )
    rows = _Rows(grid=grid, state=state, tasks=tasks, results=results, full=full)
    scores = tuple(dict.fromkeys(subset.score for subset in grid.subsets))
    packages = [package for score in scores for package in score_packages(score)]
    return Sweep(
        model=source_model(grid.opened, grid.identity),
        settings=SweepSettings(
            answer=grid.prompts.answer,
            protocol=grid.prompts.protocol,
            seed=grid.prompts.seed,
            limit=grid.scoring.limit,
            lower_top_k=grid.lower_top_k,
            dtype=results[0].settings.dtype,
        ),
        tasks=tasks,
        calibrations=tuple(
            _calibration(state, task, size)
            for task in grid.tasks
            for size in grid.sizes
        ),
        budgets=tuple(_budget(grid, budget) for budget in grid.budgets),
        scores=scores,
        full=full,
        subsets=tuple(rows.subset(one) for one in grid.subsets),
        others=tuple(rows.other(one) for one in grid.others),
        versions=versions(*SCORING, *packages),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """The rows below the full model's, each compared with its results."""

    grid: Grid
    state: SweepState
    tasks: tuple[SweptTask, ...]
    results: Sequence[Results]
    full: Row

    def subset(self, subset: Subset) -> Row:
        """Return the row of a budget, score and size: of each task its own subset."""
        selections = [
            self.state.selection(self.grid, task, subset).sha256
            for task in self.grid.tasks
        ]
        cells = self._cells(subset, selections)
        return Row(
            model=self.grid.name(subset),
            num_bytes=bytes_keeping(self.grid.opened, subset.budget.num_experts),
            keep=subset.budget.keep.text,
            num_experts=subset.budget.num_experts,
            score=subset.score,
            calibration=subset.size,
            cells=cells,
            mean=mean_cell(self.tasks, cells, self.full.mean),
        )

    def other(self, other: OtherModel) -> Row:
        """Return the row of another model."""
        cells = self._cells(other, [None] * len(self.tasks))
        return Row(
            model=self.grid.name(other),
            num_bytes=other.num_bytes,
            cells=cells,
            mean=mean_cell(self.tasks, cells, self.full.mean),
        )

    def _cells(
        self, row: Subset | OtherModel, selections: Sequence[str | None]
    ) -> tuple[Cell, ...]:
        return tuple(
            _compared_cell(column, self.state.results(task, row), full, selection)
            for task, column, full, selection in zip(
                self.grid.tasks, self.tasks, self.results, selections, strict=True
            )
        )


def _full_cell(task: SweptTask, full: Results) -> Cell:
    return Cell(task=task.name, value=full.value, stderr=full.stderr, n=full.n)


def _compared_cell(
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
            hint=(
                *("start over with ", Parameter("force", True)),
                *(", or choose another place with ", Parameter("output")),
            ),
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


def _columns(grid: Grid, results: Sequence[Results]) -> tuple[SweptTask, ...]:
    """Return the tasks; `other` is not in the mean, unless it is alone."""
    alone = len(grid.tasks) == 1
    return tuple(
        SweptTask(
            name=task.name,
            short=task.slug,
            in_mean=alone or task.scored.category != "other",
            metric=full.metric,
            higher_is_better=full.higher_is_better,
            n=full.n,
            num_fewshot=full.settings.num_fewshot,
            prompts_sha256=full.prompts_sha256,
            documents_sha256=full.documents_sha256,
        )
        for task, full in zip(grid.tasks, results, strict=True)
    )


def _budget(grid: Grid, budget: Budget) -> SweptBudget:
    return SweptBudget(
        keep=budget.keep.text,
        num_experts=budget.num_experts,
        num_experts_per_tok=budget.top_k,
        num_bytes=bytes_keeping(grid.opened, budget.num_experts),
    )


def _calibration(state: SweepState, task: SweepTask, size: str) -> SweptCalibration:
    facts = state.counted(task, size).calibration
    return SweptCalibration(
        task=task.name,
        size=size,
        num_examples=facts.num_examples,
        num_tokens=facts.num_tokens,
        tokens_sha256=str(facts.tokens_sha256),
    )
