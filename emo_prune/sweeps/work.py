"""The work of a sweep that needs a model in memory: counting, and scoring.

What is to be done and what comes of it are data: they can be sent to another process.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from emo_prune.architectures import Limits
from emo_prune.errors import SweepError
from emo_prune.evaluation import Results, ScoredModel, Scorer, evaluation_prompts
from emo_prune.facts import SELECTING
from emo_prune.files import digest_of, versions
from emo_prune.progress import Progress
from emo_prune.routing.calibration import Calibrated, calibrate
from emo_prune.routing.placement import resolved_dtype
from emo_prune.selection import ScoresFile, Selection, source_model
from emo_prune.sweeps.grid import Setup, SweepTask
from emo_prune.tasks import EvaluationSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Run a task's calibration examples through a model, and count its routing.

    num_examples: None is all. outputs: whether a score needs the outputs of experts.
    sha256: of the tokens, as the process that wants them has found them.
    """

    model: ScoredModel
    task: SweepTask
    num_examples: int | None
    outputs: bool
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Score a model on a task: whole, or with the experts of a selection.

    name: what results call it. sha256: of the documents (`documents_sha256`), as the
    process that wants them has found them.
    """

    model: ScoredModel
    task: SweepTask
    selection: Selection | None
    name: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of it, the seconds it took, and what a worker had to say."""

    found: ScoresFile | Results
    seconds: float
    said: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A pass over calibration examples, or a cell, that is not there yet.

    file: where it is kept. needs: the pass it waits for; None waits for nothing. work:
    what is to be done, once that pass is kept. title and num_documents: of a cell; a
    pass has neither.
    """

    file: Path
    needs: Path | None
    work: Callable[[], Count | Score]
    title: str = ""
    num_documents: int = 0


class Workers(Protocol):
    """What does jobs: `size` of them at a time."""

    size: int

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Done]]:
        """Yield what came of each job; it is kept before the next one is asked for."""


class Prompts:
    """What tasks calibrate on and what they score, each built once in a process."""

    def __init__(self, setup: Setup, progress: Progress) -> None:
        self._setup = setup
        self._progress = progress
        self._calibrated: dict[tuple[SweepTask, int | None], Calibrated] = {}
        self._scored: dict[SweepTask, EvaluationSet] = {}

    def calibrated(self, task: SweepTask, num_examples: int | None) -> Calibrated:
        """Return the tokens that experts are chosen on; None is all examples.

        Raises:
            EmoPruneError: task, data or tokenizer cannot be used.
        """
        key = (task, num_examples)
        if key not in self._calibrated:
            self._calibrated[key] = calibrate(
                task.calibration,
                self._setup.prompts,
                num_examples,
                config=self._setup.opened.config,
                folder=self._setup.model.folder,
                progress=self._progress,
            )
        return self._calibrated[key]

    def scored(self, task: SweepTask) -> EvaluationSet:
        """Return what is scored; whether it has chosen experts is for others to check.

        Raises:
            EmoPruneError: task, data or tokenizer cannot be used.
        """
        if task not in self._scored:
            self._scored[task] = evaluation_prompts(
                task.scored,
                self._setup.prompts,
                self._setup.scoring.limit,
                self._setup.model,
                self._progress,
            )
        return self._scored[task]


class Worker:
    """Does jobs one after the other, with one model in memory at a time."""

    size = 1

    def __init__(self, setup: Setup, prompts: Prompts) -> None:
        self._setup = setup
        self._prompts = prompts
        self._loaded = ExitStack()
        self._folder: Path | None = None
        self._scorer: Scorer | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._unload()

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Done]]:
        """Do the jobs in their order; a pass comes before what needs it."""
        for job in jobs:
            yield job, self.do(job.work())

    def do(self, work: Count | Score) -> Done:
        """Count or score.

        Raises:
            SweepError: the data are not those that were meant.
            EmoPruneError: the model or the task cannot be used.
        """
        scorer = self._load(work.model)
        started = time.monotonic()
        found: ScoresFile | Results
        if isinstance(work, Count):
            found = self._count(scorer, work)
        else:
            found = self._score(scorer, work)
        return Done(found=found, seconds=time.monotonic() - started)

    def _load(self, model: ScoredModel) -> Scorer:
        """Return a model that is in memory, in place of the one before."""
        if self._scorer is None or self._folder != model.folder:
            self._unload()
            options = self._setup.scoring
            if model.folder == self._setup.model.folder:
                dtype = resolved_dtype(self._setup.opened, options.dtype)
                options = replace(options, dtype=dtype)
            scorer = Scorer.load(model.folder, model.name, options)
            self._scorer = self._loaded.enter_context(scorer)
            self._folder = model.folder
        return self._scorer

    def _unload(self) -> None:
        self._loaded.close()
        self._scorer = self._folder = None

    def _count(self, scorer: Scorer, work: Count) -> ScoresFile:
        from emo_prune.routing import observe

        calibrated = self._prompts.calibrated(work.task, work.num_examples)
        _check_same(work, calibrated.tokens_sha256)
        opened = self._setup.opened
        with self._setup.scoring.progress.track(
            f"observing routing on {work.task.name}",
            calibrated.facts.num_tokens,
            "tokens",
        ) as advance:
            layers = observe(
                scorer.model,
                opened.architecture,
                calibrated.batches,
                outputs=work.outputs,
                progress=advance,
            )
        return ScoresFile(
            model=source_model(opened, self._setup.identity),
            calibration=calibrated.facts,
            versions=versions(*SELECTING),
            limits=Limits.of(opened),
            layers=tuple(layers),
        )

    def _score(self, scorer: Scorer, work: Score) -> Results:
        scored = self._prompts.scored(work.task)
        _check_same(work, documents_sha256(scored))
        if work.selection is None:
            return scorer.score(scored, work.name)
        kept, top_k = work.selection.kept, work.selection.top_k
        return scorer.score(scored, work.name, kept, top_k)


def documents_sha256(scored: EvaluationSet) -> str:
    """Return a hash of the documents to be scored."""
    return digest_of(one.encode() for one in scored.document_sha256)


def _check_same(work: Count | Score, sha256: str) -> None:
    """Raise `SweepError` where another machine has other data."""
    if sha256 != work.sha256:
        raise SweepError(
            "the data of a task are not the same on all machines",
            where=f"{work.task.name} on {platform.node()}",
            got=sha256,
            expected=work.sha256,
            hint="give every machine the same files at the same path",
        )
