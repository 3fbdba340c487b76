"""The work of a sweep: passes over calibration examples, and cells that are scored."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_prune.api.calibrating import Calibrated, RunOptions, calibrate
from emo_prune.api.choosing import model_facts
from emo_prune.api.masked_model import routing_as
from emo_prune.api.scoring import WhatToScore, prompts_to_score, score_named
from emo_prune.api.selecting import select_from_scores
from emo_prune.api.streaming import resolved_dtype
from emo_prune.api.subject import Subject
from emo_prune.api.sweep_state import SweepState
from emo_prune.api.sweep_tasks import SweepTask
from emo_prune.api.watcher import Watcher
from emo_prune.architectures import MoEModel
from emo_prune.evaluation import scorer
from emo_prune.provenance import versions, write_atomically
from emo_prune.selection import (
    NEED_OUTPUTS,
    Budget,
    Limits,
    ScoresFile,
    Selection,
    read_scores,
    write_scores,
)
from emo_prune.tasks import EvaluationSet, TaskOptions

if TYPE_CHECKING:
    from emo_prune.evaluation.language_model import ScoringLM

FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOptions:
    """How prompts are made, and how every cell of a sweep is counted and scored."""

    options: TaskOptions
    limit: int | None = None
    lower_top_k: bool = False
    allow_overlap: bool = False
    device: str | None = None
    dtype: str = "auto"
    batch_size: int | None = None
    share_prefixes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """A budget, a score, and a number of examples: of each task another selection."""

    budget: Budget
    score: str
    num_examples: int | None

    @property
    def size(self) -> str:
        """The number of examples, or all."""
        return size_name(self.num_examples)

    @property
    def title(self) -> str:
        """What progress calls it."""
        return f"{self.budget.keep.text} {self.score}, {self.size} examples"

    @property
    def file(self) -> str:
        """The name of its cells' files."""
        return f"{self.size}-{self.score}-{self.budget.num_experts}"


def size_name(num_examples: int | None) -> str:
    """Return what a size of calibration is called."""
    return "all" if num_examples is None else str(num_examples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Another model, to be compared with the full one; `identity` tells it apart."""

    subject: Subject
    num_bytes: int
    identity: str

    @property
    def file(self) -> str:
        """The name of its cells' files."""
        return f"other-{self.identity.removeprefix('sha256:')[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Everything a sweep computes, found and checked, and where it is kept."""

    whole: Subject
    opened: MoEModel
    identity: str
    state: SweepState
    tasks: tuple[SweepTask, ...]
    subsets: tuple[Subset, ...]
    others: tuple[Other, ...]
    options: CellOptions

    @property
    def sizes(self) -> dict[str, int | None]:
        """The sizes of calibration, by name."""
        return {subset.size: subset.num_examples for subset in self.subsets}

    @property
    def outputs(self) -> bool:
        """Whether a score needs the outputs of experts."""
        return any(subset.score in NEED_OUTPUTS for subset in self.subsets)

    def selection(self, task: SweepTask, subset: Subset) -> Selection:
        """Return a task's selection, from the pass that was kept."""
        return select_from_scores(
            self.state.scores(task, subset.size),
            subset.budget.keep,
            score=subset.score,
            lower_top_k=self.options.lower_top_k,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Todo:
    """What a task still lacks: passes, cells of the model (None: full), of others."""

    task: SweepTask
    scored: EvaluationSet
    passes: Mapping[str, Calibrated]
    cells: tuple[Subset | None, ...]
    others: tuple[Other, ...]

    @property
    def num_documents(self) -> int:
        """Documents of one cell."""
        return len(self.scored.document_sha256)


def complete(grid: Grid, watcher: Watcher) -> None:
    """Compute every pass and cell that is not there yet.

    Data and prompts of all tasks are checked before a model is loaded.

    Raises:
        CalibrationOverlap: a document to be scored has chosen experts.
        EmoPruneError: a model or a task cannot be used.
    """
    todo = [one for task in grid.tasks if (one := _todo(grid, task, watcher))]
    pace = _Pace(watcher, todo)
    try:
        if any(one.cells or one.passes for one in todo):
            _score_subsets(grid, todo, pace, watcher)
        for other in grid.others:
            lacking = [one for one in todo if other in one.others]
            if lacking:
                _score_other(grid, other, lacking, pace, watcher)
    except BaseException:
        if pace.done:
            watcher.say(
                f"{grid.state.path} holds the cells that are done: the same command "
                "goes on"
            )
        raise


def _todo(grid: Grid, task: SweepTask, watcher: Watcher) -> _Todo | None:
    """Return what a task lacks, its prompts built; None if it lacks nothing."""
    grid.state.begin(task)
    passes: dict[str, Calibrated] = {}
    documents = set(grid.whole.documents)
    for size, num_examples in grid.sizes.items():
        kept = _kept_pass(grid, task, size)
        if kept is None:
            passes[size] = _calibrated(grid, task, num_examples, watcher)
        facts = passes[size].facts if kept is None else kept.calibration
        documents |= set(facts["documents"])
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
    options = grid.options
    request = WhatToScore(
        model=str(grid.whole.folder),
        task=task.scored,
        options=options.options,
        limit=options.limit,
        allow_overlap=options.allow_overlap,
    )
    scored = prompts_to_score(request, grid.whole, frozenset(documents), watcher)
    return _Todo(task=task, scored=scored, passes=passes, cells=cells, others=others)


def _kept_pass(grid: Grid, task: SweepTask, size: str) -> ScoresFile | None:
    """Return a pass that is kept, unless it lacks what a score needs."""
    file = grid.state.scores(task, size)
    if not file.exists():
        return None
    scores = read_scores(file)
    lacking = grid.outputs and any(x.weighted_norms is None for x in scores.layers)
    return None if lacking else scores


def _calibrated(
    grid: Grid, task: SweepTask, num_examples: int | None, watcher: Watcher
) -> Calibrated:
    options = RunOptions(options=grid.options.options, num_examples=num_examples)
    folder = grid.whole.folder
    return calibrate(task.calibration, options, grid.opened.config, folder, watcher)


def _score_subsets(
    grid: Grid, todo: list[_Todo], pace: _Pace, watcher: Watcher
) -> None:
    """Load the model once; count and score what the tasks lack of it."""
    model = _loaded(grid, grid.whole, watcher)
    for one in todo:
        for size, calibrated in one.passes.items():
            _count(grid, one.task, size, calibrated, model, watcher)
        with _lent(grid, grid.whole, model, watcher) as lm:
            for subset in one.cells:
                selection = None if subset is None else grid.selection(one.task, subset)
                name = grid.whole.name if subset is None else subset_title(grid, subset)
                title = FULL if subset is None else subset.title
                routing = routing_as(model, grid.opened, selection)
                with pace.cell(one, title), routing:
                    results = score_named(lm, one.scored, name, watcher)
                    file = grid.state.cell(one.task, subset.file if subset else FULL)
                    write_atomically(file, results.to_json())


def subset_title(grid: Grid, subset: Subset) -> str:
    """Return what results call a subset."""
    kept, total = subset.budget.num_experts, grid.opened.num_experts
    return f"{grid.whole.name}, {kept} of {total} experts"


def _count(
    grid: Grid,
    task: SweepTask,
    size: str,
    calibrated: Calibrated,
    model: Any,
    watcher: Watcher,
) -> None:
    """Run a task's examples through the model, and keep what was counted."""
    from emo_prune.routing import observe

    label = f"observing routing on {task.name}"
    with watcher.track(label, calibrated.num_tokens, "tokens") as advance:
        layers = observe(
            model,
            grid.opened.architecture,
            calibrated.batches,
            outputs=grid.outputs,
            progress=advance,
        )
    scores = ScoresFile(
        model=model_facts(grid.opened, grid.identity),
        calibration=calibrated.facts,
        versions=versions("emo-prune", "torch", "transformers", "lm-eval"),
        limits=Limits.of(grid.opened),
        layers=tuple(layers),
    )
    write_scores(grid.state.scores(task, size), scores)


def _score_other(
    grid: Grid, other: Other, todo: list[_Todo], pace: _Pace, watcher: Watcher
) -> None:
    """Load another model once, and score it whole."""
    model = _loaded(grid, other.subject, watcher)
    for one in todo:
        name = other.subject.name
        lent = _lent(grid, other.subject, model, watcher)
        with pace.cell(one, name), lent as lm:
            results = score_named(lm, one.scored, name, watcher)
            write_atomically(grid.state.cell(one.task, other.file), results.to_json())


def _loaded(grid: Grid, subject: Subject, watcher: Watcher) -> Any:
    from emo_prune.models.loading import load_model

    watcher.say(f"loading {subject.name}")
    options = grid.options
    dtype = options.dtype
    if subject is grid.whole:
        dtype = resolved_dtype(grid.opened, RunOptions(dtype=dtype))
    return load_model(Path(subject.folder), device=options.device, dtype=dtype)


def _lent(
    grid: Grid, subject: Subject, model: Any, watcher: Watcher
) -> AbstractContextManager[ScoringLM]:
    """Lend a model to the cells of one task; what they tokenise is then forgotten."""
    from emo_prune.models.loading import load_tokenizer

    return scorer(
        model,
        load_tokenizer(subject.folder),
        batch_size=grid.options.batch_size,
        share_prefixes=grid.options.share_prefixes,
        say=watcher.say,
    )


class _Pace:
    """Tells how many cells are done, and how long the rest will take."""

    def __init__(self, watcher: Watcher, todo: list[_Todo]) -> None:
        self._watcher = watcher
        self._cells = sum(len(one.cells) + len(one.others) for one in todo)
        self._documents = sum(
            one.num_documents * (len(one.cells) + len(one.others)) for one in todo
        )
        self.done = 0
        self._scored = 0
        self._seconds = 0.0
        if self._cells:
            watcher.say(
                f"{self._cells} cells to score, {self._documents:,} documents in all"
            )

    @contextmanager
    def cell(self, one: _Todo, title: str) -> Iterator[None]:
        """Time a cell and say what is left; the rest is taken to go as fast."""
        started = time.monotonic()
        yield
        self._seconds += time.monotonic() - started
        self.done += 1
        self._scored += one.num_documents
        left = self._seconds / self._scored * (self._documents - self._scored)
        text = f"{one.task.name}, {title}: {self.done} of {self._cells} cells"
        if self.done < self._cells:
            text += f", about {_duration(left)} left"
        self._watcher.say(text)


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
