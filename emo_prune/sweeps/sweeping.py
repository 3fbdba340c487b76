"""`sweep`: many tasks, budgets and scores in one run that can be stopped at any moment.

What is not there yet is found first, data and prompts checked; then it is computed, by
this process or by workers of Ray; the document is made of finished files alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path

from emo_prune import places
from emo_prune.evaluation import refuse_overlap
from emo_prune.facts import Calibration
from emo_prune.options import SweepOptions, needed_model, verb
from emo_prune.progress import Progress
from emo_prune.sweeps.document import Sweep
from emo_prune.sweeps.grid import (
    Grid,
    GridRow,
    OtherModel,
    Subset,
    SweepTask,
    sweep_grid,
    sweep_tasks,
)
from emo_prune.sweeps.ray_workers import check_ray, ray_pool
from emo_prune.sweeps.rows import gathered
from emo_prune.sweeps.state import SweepState, keep
from emo_prune.sweeps.work import (
    Count,
    Job,
    Prompts,
    Score,
    Worker,
    Workers,
    documents_sha256,
)
from emo_prune.tasks import EvaluationSet


@verb(SweepOptions)
def sweep(options: SweepOptions) -> Sweep:
    """Score a model, and its subsets for every task, budget, score and calibration.

    For each task the examples pass through the model once (for each number of them),
    and every cell is scored with the model's routers masked: it is loaded once (by each
    worker of Ray), and nothing is exported. With `output` the document is written
    there, and finished cells are kept beside it, in sweep.json.state/: the same sweep
    goes on where one was stopped, a larger one computes what the smaller had not.

    Raises:
        StaleRun: the cells kept there are of another model, or of other options.
        SettingsError: there is no task, or Ray cannot be used.
        SweepError: workers of Ray died, or do not fit together.
        BudgetError: before any model is loaded, if a budget is not possible.
        CalibrationOverlap: a document to be scored has chosen experts.
        EmoPruneError: a model or a task cannot be used.
    """
    tasks = sweep_tasks(options)
    model = needed_model(options.model, options.verb)
    file = None
    if options.output is not None:
        file = places.sweep_file(Path(options.output))
        places.refuse_inside(file, Path(model))
    if options.ray is not None:
        check_ray(options.ray, options.device)
    with _state_folder(file) as folder:
        grid = sweep_grid(options, tasks)
        state = SweepState(folder, grid.key)
        with state.held(force=options.force):
            left = _Left(options.progress)
            try:
                _complete(grid, state, options.ray, left)
            except BaseException:
                if file is not None and left.num_done:
                    options.progress.say(
                        f"{folder} holds the cells that are done: the same command "
                        "goes on"
                    )
                raise
            found = gathered(grid, state)
            if file is not None:
                found.save(file)
    return found


@contextmanager
def _state_folder(file: Path | None) -> Iterator[Path]:
    """Give the folder that finished cells are kept in; without a file not for long."""
    if file is not None:
        yield places.sweep_state(file)
        return
    with tempfile.TemporaryDirectory(prefix="emo-prune-sweep-") as folder:
        yield Path(folder)


def _complete(grid: Grid, state: SweepState, ray: str | None, left: _Left) -> None:
    """Compute every pass and cell that is not there yet.

    Data and prompts of all tasks are checked before a model is loaded.
    """
    prompts = Prompts(grid, grid.scoring.progress)
    by_task = [_jobs(grid, state, prompts, task) for task in grid.tasks]
    stages = [[*chain(*of_a_model)] for of_a_model in zip(*by_task, strict=True)]
    left.expect([job for job in chain(*stages) if job.title])
    if not any(stages):
        return
    with _workers(grid, prompts, ray, max(map(len, stages))) as workers:
        for jobs in filter(None, stages):
            for job, done in workers.run(jobs):
                keep(job.file, done.found)
                left.tell(job, done.seconds / workers.size)


def _workers(
    grid: Grid, prompts: Prompts, ray: str | None, num_jobs: int
) -> AbstractContextManager[Workers]:
    """Return what does the work: this process, or Ray's."""
    if ray is not None:
        return ray_pool(ray, grid, num_jobs)
    return Worker(grid, prompts)


class _Left:
    """Tells of each cell that is done; the rest is taken to go as fast."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.num_done = 0
        self._num_cells = self._num_documents = self._num_scored = 0
        self._seconds = 0.0

    def expect(self, cells: Sequence[Job]) -> None:
        """Say how much there is to do."""
        self._num_cells = len(cells)
        self._num_documents = sum(job.num_documents for job in cells)
        if cells:
            self._progress.say(
                f"{self._num_cells} cells to score, {self._num_documents:,} documents "
                "in all"
            )

    def tell(self, job: Job, seconds: float) -> None:
        """Say that a cell is done, and what is left.

        seconds: what it took; where several are scored at once, its share of that.
        """
        if not job.title:
            return
        self._seconds += seconds
        self.num_done += 1
        self._num_scored += job.num_documents
        text = f"{job.title}: {self.num_done} of {self._num_cells} cells"
        if self.num_done < self._num_cells:
            rest = self._num_documents - self._num_scored
            seconds = self._seconds / self._num_scored * rest
            text += f", about {_duration(seconds)} left"
        self._progress.say(text)


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _jobs(
    grid: Grid, state: SweepState, prompts: Prompts, task: SweepTask
) -> list[list[Job]]:
    """Return what a task lacks, prompts built: on the sweep's model, then each other.

    A pass comes before the cells that need it.
    """
    state.begin(task)
    passes = []
    documents = set(grid.model.documents)
    for size, num_examples in grid.sizes.items():
        kept = _kept_pass(grid, state, task, size)
        facts = kept or prompts.calibrated(task, num_examples).facts
        documents |= set(facts.documents)
        if kept is None:
            passes.append(_pass(grid, state, task, size, str(facts.tokens_sha256)))
    rows: tuple[GridRow, ...] = (None, *grid.subsets, *grid.others)
    lacking = [row for row in rows if not state.cell_file(task, row).exists()]
    if not (passes or lacking):
        return [[] for _ in (grid.model, *grid.others)]
    documents = documents.union(*(other.model.documents for other in grid.others))
    scored = prompts.scored(task)
    refuse_overlap(
        scored,
        documents,
        allow=grid.scoring.allow_overlap,
        progress=grid.scoring.progress,
    )
    cell = partial(_cell, grid, state, task, scored)
    own = [cell(row) for row in lacking if not isinstance(row, OtherModel)]
    others = [[cell(other)] if other in lacking else [] for other in grid.others]
    return [[*passes, *own], *others]


def _kept_pass(
    grid: Grid, state: SweepState, task: SweepTask, size: str
) -> Calibration | None:
    """Return what a kept pass was run on; None if it lacks what a score needs."""
    if not state.pass_file(task, size).exists():
        return None
    scores = state.counted(task, size)
    lacking = grid.outputs and any(x.weighted_norms is None for x in scores.layers)
    return None if lacking else scores.calibration


def _pass(
    grid: Grid, state: SweepState, task: SweepTask, size: str, sha256: str
) -> Job:
    work = Count(
        model=grid.model,
        task=task,
        num_examples=grid.sizes[size],
        outputs=grid.outputs,
        sha256=sha256,
    )
    return Job(file=state.pass_file(task, size), needs=None, work=lambda: work)


def _cell(
    grid: Grid, state: SweepState, task: SweepTask, scored: EvaluationSet, row: GridRow
) -> Job:
    subset = row if isinstance(row, Subset) else None
    model = row.model if isinstance(row, OtherModel) else grid.model
    sha256 = documents_sha256(scored)

    def work() -> Score:
        selection = None if subset is None else state.selection(grid, task, subset)
        return Score(
            model=model,
            task=task,
            selection=selection,
            name=grid.name(row),
            sha256=sha256,
        )

    return Job(
        file=state.cell_file(task, row),
        needs=None if subset is None else state.pass_file(task, subset.size),
        work=work,
        title=f"{task.name}, {grid.title(row)}",
        num_documents=len(scored.document_sha256),
    )
