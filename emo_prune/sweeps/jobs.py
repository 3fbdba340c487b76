"""What a sweep still lacks: passes and cells, who does them, and where they go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from emo_prune.evaluation import refuse_overlap
from emo_prune.evaluation.scored_model import ScoredModel as Subject
from emo_prune.files import write_atomically
from emo_prune.progress import Progress
from emo_prune.selection import ScoresFile, read_scores, write_scores
from emo_prune.sweeps.bench import Bench, Count, Done, Score, documents_digest
from emo_prune.sweeps.cells import FULL, Grid, Other, Subset, subset_title
from emo_prune.sweeps.pace import Pace
from emo_prune.sweeps.prompts import Prompts
from emo_prune.sweeps.tasks import SweepTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A pass or a cell that is not there yet.

    file: where it is kept. needs: the pass it waits for; None waits for nothing. order:
    what is to be done, once that pass is kept. title and num_documents: of a cell; a
    pass has neither.
    """

    file: Path
    needs: Path | None
    order: Callable[[], Count | Score]
    title: str = ""
    num_documents: int = 0


class Crew(Protocol):
    """Who does the jobs: `size` of them at a time."""

    size: int

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Done]]:
        """Yield what came of each job; it is kept before the next one is asked for."""


Hire = Callable[[int], AbstractContextManager[Crew]]


class Alone:
    """A crew of this process alone."""

    size = 1

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self._bench.close()

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Done]]:
        """Do the jobs in their order; a pass comes before what needs it."""
        for job in jobs:
            yield job, self._bench.run(job.order())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Todo:
    """What a task still lacks: passes, cells of the model (None: full), of others.

    passes: the hash of their tokens, by size. sha256: of the documents to be scored.
    """

    task: SweepTask
    num_documents: int
    sha256: str
    passes: Mapping[str, str]
    cells: tuple[Subset | None, ...]
    others: tuple[Other, ...]


def complete(grid: Grid, prompts: Prompts, hire: Hire, progress: Progress) -> None:
    """Compute every pass and cell that is not there yet.

    Data and prompts of all tasks are checked before a crew is hired for so many jobs at
    most, and a model loaded.

    Raises:
        CalibrationOverlap: a document to be scored has chosen experts.
        EmoPruneError: a model or a task cannot be used.
    """
    todo = [one for task in grid.tasks if (one := _todo(grid, prompts, task, progress))]
    stages = [_of_the_model(grid, todo)]
    stages += [_of_another(grid, todo, other) for other in grid.others]
    cells = [job for jobs in stages for job in jobs if job.title]
    pace = Pace(progress, len(cells), sum(job.num_documents for job in cells))
    if not any(stages):
        return
    try:
        with hire(max(map(len, stages))) as crew:
            for jobs in filter(None, stages):
                for job, done in crew.run(jobs):
                    _keep(job, done)
                    if job.title:
                        pace.tell(
                            job.title, job.num_documents, done.seconds / crew.size
                        )
    except BaseException:
        if pace.done:
            progress.say(
                f"{grid.state.path} holds the cells that are done: the same command "
                "goes on"
            )
        raise


def _keep(job: Job, done: Done) -> None:
    if isinstance(done.found, ScoresFile):
        write_scores(job.file, done.found)
    else:
        write_atomically(job.file, done.found.to_text())


def _todo(
    grid: Grid, prompts: Prompts, task: SweepTask, progress: Progress
) -> _Todo | None:
    """Return what a task lacks, its prompts built; None if it lacks nothing."""
    grid.state.begin(task)
    passes: dict[str, str] = {}
    documents = set(grid.whole.documents)
    for size, num_examples in grid.sizes.items():
        kept = _kept_pass(grid, task, size)
        if kept is None:
            calibrated = prompts.calibrated(task, num_examples)
            facts = calibrated.facts
            passes[size] = calibrated.tokens_sha256
        else:
            facts = kept.calibration
        documents |= set(facts.documents)
    cells = tuple(
        subset
        for subset in (None, *grid.subsets)
        if not grid.state.cell(task, subset.file if subset else FULL).exists()
    )
    others = tuple(
        other for other in grid.others if not grid.state.cell(task, other.file).exists()
    )
    if not (passes or cells or others):
        return None
    documents = documents.union(*(other.subject.documents for other in grid.others))
    scored = prompts.scored(task)
    refuse_overlap(
        scored, documents, allow=grid.options.allow_overlap, progress=progress
    )
    return _Todo(
        task=task,
        num_documents=len(scored.document_sha256),
        sha256=documents_digest(scored),
        passes=passes,
        cells=cells,
        others=others,
    )


def _kept_pass(grid: Grid, task: SweepTask, size: str) -> ScoresFile | None:
    """Return a pass that is kept, unless it lacks what a score needs."""
    file = grid.state.scores(task, size)
    if not file.exists():
        return None
    scores = read_scores(file)
    lacking = grid.outputs and any(x.weighted_norms is None for x in scores.layers)
    return None if lacking else scores


def _of_the_model(grid: Grid, todo: Sequence[_Todo]) -> list[Job]:
    """Return the passes and cells of the model itself, task by task."""
    jobs: list[Job] = []
    for one in todo:
        jobs += [_pass(grid, one, size) for size in one.passes]
        jobs += [_subset(grid, one, subset) for subset in one.cells]
    return jobs


def _of_another(grid: Grid, todo: Sequence[_Todo], other: Other) -> list[Job]:
    """Return the cells of another model, scored whole."""
    subject = other.subject
    return [
        _cell(grid, one, other.file, subject.name, partial(_whole, one, subject))
        for one in todo
        if other in one.others
    ]


def _pass(grid: Grid, one: _Todo, size: str) -> Job:
    order = Count(
        subject=grid.whole,
        task=one.task,
        num_examples=grid.sizes[size],
        outputs=grid.outputs,
        sha256=one.passes[size],
    )
    file = grid.state.scores(one.task, size)
    return Job(file=file, needs=None, order=lambda: order)


def _subset(grid: Grid, one: _Todo, subset: Subset | None) -> Job:
    if subset is None:
        return _cell(grid, one, FULL, FULL, partial(_whole, one, grid.whole))
    needs = grid.state.scores(one.task, subset.size)
    order = partial(_chosen, grid, one, subset)
    return _cell(grid, one, subset.file, subset.title, order, needs)


def _cell(
    grid: Grid,
    one: _Todo,
    file: str,
    title: str,
    order: Callable[[], Score],
    needs: Path | None = None,
) -> Job:
    return Job(
        file=grid.state.cell(one.task, file),
        needs=needs,
        order=order,
        title=f"{one.task.name}, {title}",
        num_documents=one.num_documents,
    )


def _chosen(grid: Grid, one: _Todo, subset: Subset) -> Score:
    return Score(
        subject=grid.whole,
        task=one.task,
        selection=grid.selection(one.task, subset),
        name=subset_title(grid, subset),
        sha256=one.sha256,
    )


def _whole(one: _Todo, subject: Subject) -> Score:
    return Score(
        subject=subject,
        task=one.task,
        selection=None,
        name=subject.name,
        sha256=one.sha256,
    )
