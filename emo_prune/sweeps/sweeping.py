"""`sweep`: many tasks, budgets and scores in one run that can be stopped at any moment.

What is not there yet is found first, data and prompts checked; then it is computed, by
this process or by workers of Ray; the document is made of finished files alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from emo_prune import places
from emo_prune.evaluation.overlap import refuse_overlap
from emo_prune.evaluation.scored_model import ScoredModel
from emo_prune.options import SweepOptions, needed_model, verb
from emo_prune.progress import Interruptible, Progress
from emo_prune.selection import ScoresFile
from emo_prune.sweeps.document import Sweep
from emo_prune.sweeps.grid import (
    Grid,
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
    with Interruptible(options.progress) as progress, _state_folder(file) as folder:
        grid = sweep_grid(replace(options, progress=progress), tasks)
        state = SweepState(folder, grid.key)
        with state.held(force=options.force):
            left = _Left(progress)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lacking:
    """What a task still lacks: passes, cells of the model (None: full), of others.

    passes: the hash of their tokens, by size. sha256: of the documents to be scored.
    """

    task: SweepTask
    num_documents: int
    sha256: str
    passes: Mapping[str, str]
    cells: tuple[Subset | None, ...]
    others: tuple[OtherModel, ...]


def _complete(grid: Grid, state: SweepState, ray: str | None, left: _Left) -> None:
    """Compute every pass and cell that is not there yet.

    Data and prompts of all tasks are checked before a model is loaded.
    """
    prompts = Prompts(grid, grid.scoring.progress)
    found = (_lacking(grid, state, prompts, task) for task in grid.tasks)
    lacking = [one for one in found if one is not None]
    stages = [_of_the_model(grid, state, lacking)]
    stages += [_of_another(state, lacking, other) for other in grid.others]
    left.expect([job for jobs in stages for job in jobs if job.title])
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


def _lacking(
    grid: Grid, state: SweepState, prompts: Prompts, task: SweepTask
) -> _Lacking | None:
    """Return what a task lacks, its prompts built; None if it lacks nothing."""
    state.begin(task)
    passes: dict[str, str] = {}
    documents = set(grid.model.documents)
    for size, num_examples in grid.sizes.items():
        kept = _kept_pass(grid, state, task, size)
        if kept is None:
            facts = prompts.calibrated(task, num_examples).facts
            passes[size] = str(facts.tokens_sha256)
        else:
            facts = kept.calibration
        documents |= set(facts.documents)
    cells = tuple(
        row
        for row in (None, *grid.subsets)
        if not state.cell_file(task, row).exists()
    )
    others = tuple(
        row for row in grid.others if not state.cell_file(task, row).exists()
    )
    if not (passes or cells or others):
        return None
    documents = documents.union(*(other.model.documents for other in grid.others))
    scored = prompts.scored(task)
    refuse_overlap(
        scored,
        documents,
        allow=grid.scoring.allow_overlap,
        progress=grid.scoring.progress,
    )
    return _Lacking(
        task=task,
        num_documents=len(scored.document_sha256),
        sha256=documents_sha256(scored),
        passes=passes,
        cells=cells,
        others=others,
    )


def _kept_pass(
    grid: Grid, state: SweepState, task: SweepTask, size: str
) -> ScoresFile | None:
    """Return a pass that is kept, unless it lacks what a score needs."""
    if not state.pass_file(task, size).exists():
        return None
    scores = state.counted(task, size)
    lacking = grid.outputs and any(x.weighted_norms is None for x in scores.layers)
    return None if lacking else scores


def _of_the_model(
    grid: Grid, state: SweepState, lacking: Sequence[_Lacking]
) -> list[Job]:
    """Return the passes and cells of the model itself, task by task."""
    jobs: list[Job] = []
    for one in lacking:
        jobs += [_pass(grid, state, one, size) for size in one.passes]
        jobs += [_cell(grid, state, one, subset) for subset in one.cells]
    return jobs


def _pass(grid: Grid, state: SweepState, one: _Lacking, size: str) -> Job:
    work = Count(
        model=grid.model,
        task=one.task,
        num_examples=grid.sizes[size],
        outputs=grid.outputs,
        sha256=one.passes[size],
    )
    file = state.pass_file(one.task, size)
    return Job(file=file, needs=None, work=lambda: work)


def _cell(grid: Grid, state: SweepState, one: _Lacking, subset: Subset | None) -> Job:
    """Return the cell of the full model, or of a subset of its experts."""
    if subset is None:
        return _whole(state, one, None, grid.model, "full")

    def chosen() -> Score:
        return Score(
            model=grid.model,
            task=one.task,
            selection=state.selection(one.task, subset, lower_top_k=grid.lower_top_k),
            name=grid.name(subset),
            sha256=one.sha256,
        )

    return Job(
        file=state.cell_file(one.task, subset),
        needs=state.pass_file(one.task, subset.size),
        work=chosen,
        title=f"{one.task.name}, {subset.title}",
        num_documents=one.num_documents,
    )


def _of_another(
    state: SweepState, lacking: Sequence[_Lacking], other: OtherModel
) -> list[Job]:
    """Return the cells of another model, scored whole."""
    return [
        _whole(state, one, other, other.model, other.model.name)
        for one in lacking
        if other in one.others
    ]


def _whole(
    state: SweepState,
    one: _Lacking,
    row: OtherModel | None,
    model: ScoredModel,
    title: str,
) -> Job:
    """Return the cell of a model with all its experts."""
    work = Score(
        model=model, task=one.task, selection=None, name=model.name, sha256=one.sha256
    )
    return Job(
        file=state.cell_file(one.task, row),
        needs=None,
        work=lambda: work,
        title=f"{one.task.name}, {title}",
        num_documents=one.num_documents,
    )
