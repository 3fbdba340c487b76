"""From an export (or any checkpoint) and a task to figures, and what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from emo_prune.architectures import MoEModel
from emo_prune.architectures.opening import open_local
from emo_prune.errors import EvaluationError, SettingsError
from emo_prune.evaluation.compare import compare
from emo_prune.evaluation.controls import (
    PlannedControl,
    WantedControl,
    plan_controls,
)
from emo_prune.evaluation.overlap import evaluation_prompts, refuse_overlap
from emo_prune.evaluation.results import Comparison, Results
from emo_prune.evaluation.scored_model import ScoredModel as Subject
from emo_prune.evaluation.scored_model import scored_model as subject
from emo_prune.evaluation.scorer import Scorer
from emo_prune.exports.export_selection import find_source
from emo_prune.options import ScoringOptions
from emo_prune.progress import Progress, Silent
from emo_prune.tasks import EvaluationSet, Task, TaskOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateRequest:
    """What to score, on what, and against what.

    baseline: a folder or Hub id; "source" is the checkpoint that the export records;
    None compares with nothing. controls: of an export, scored on its source, which is
    then the baseline.
    """

    model: str
    task: Task
    options: TaskOptions = field(default_factory=TaskOptions)
    limit: int | None = None
    allow_overlap: bool = False
    device: str | None = None
    dtype: str = "auto"
    batch_size: int | None = None
    share_prefixes: bool = True
    baseline: str | None = None
    controls: tuple[WantedControl, ...] = ()

    def scoring(self, progress: Progress) -> ScoringOptions:
        """Return how models are scored."""
        return ScoringOptions(
            device=self.device,
            dtype=self.dtype,
            batch_size=self.batch_size,
            share_prefixes=self.share_prefixes,
            progress=progress,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A request whose every part has been found and checked.

    source: where there are controls, the baseline's checkpoint, which they are scored
    on.
    """

    request: EvaluateRequest
    model: Subject
    baseline: Subject | None
    scored: EvaluationSet
    controls: tuple[PlannedControl, ...]
    source: MoEModel | None


def evaluate_task(
    request: EvaluateRequest, progress: Progress | None = None
) -> tuple[Results, Comparison | None]:
    """Score a checkpoint through lm-eval and compare it with its baseline.

    Raises:
        CalibrationOverlap: a document to be scored has chosen experts.
        EmoPruneError: model, baseline or task cannot be used.
    """
    (outcome,) = evaluate_tasks([request], progress)
    return outcome


def evaluate_tasks(
    requests: Sequence[EvaluateRequest], progress: Progress | None = None
) -> Iterator[tuple[Results, Comparison | None]]:
    """Score several checkpoints; all are found and checked before the first is run.

    A baseline that several share on the same task is scored once.

    Raises:
        CalibrationOverlap, EmoPruneError: as `evaluate_task`.
    """
    progress = progress or Silent()
    jobs = [_prepare(request, progress) for request in requests]
    known: dict[object, Results] = {}
    for job in jobs:
        results = _score(job, job.model, progress)
        if job.baseline is None:
            yield results, None
            continue
        if job.source is not None:
            yield results, _controlled(job, job.baseline, job.source, results, progress)
            continue
        key = (job.baseline.folder, job.request.task, job.request.options)
        if key not in known:
            known[key] = _score(job, job.baseline, progress)
        yield results, compare(results, known[key])


def _prepare(request: EvaluateRequest, progress: Progress) -> _Job:
    model = subject(request.model)
    baseline = None
    if request.controls:
        baseline = subject(_source_of_controls(model, request.baseline))
    elif request.baseline == "source":
        baseline = subject(_source_of(model))
    elif request.baseline is not None:
        baseline = subject(request.baseline)
    controls: tuple[PlannedControl, ...] = ()
    source = None
    if request.controls and baseline and model.record:
        source, _ = open_local(str(baseline.folder))
        (controls,) = plan_controls(
            request.controls,
            [model.record.selection],
            source,
            baseline.folder,
            request.options.data_dir,
            progress,
        )
    documents = model.documents | (baseline.documents if baseline else frozenset())
    documents = documents.union(*(control.documents for control in controls))
    scored = evaluation_prompts(
        request.task, request.options, request.limit, model, progress
    )
    refuse_overlap(scored, documents, allow=request.allow_overlap, progress=progress)
    return _Job(
        request=request,
        model=model,
        baseline=baseline,
        scored=scored,
        controls=controls,
        source=source,
    )


def _source_of(model: Subject) -> str:
    if model.record is None:
        raise EvaluationError(
            "there is nothing to compare with",
            where=model.name,
            got="a checkpoint that is not an export, and no --baseline",
            expected="an export, which records its source, or a --baseline",
            hint="add --baseline MODEL",
        )
    return find_source(model.record.selection)


def _source_of_controls(model: Subject, baseline: str | None) -> str:
    """Return the source of an export, whose experts its controls are.

    Raises:
        SettingsError: it is no export, or another baseline was asked for.
    """
    if model.record is None:
        raise SettingsError(
            "a control keeps as many experts as a selection",
            where="--control",
            got=f"{model.name}, which is not an export",
            expected="an export, or --selection",
            hint="give an export, or --model MODEL --selection selection.json",
        )
    if baseline not in (None, "source"):
        raise SettingsError(
            "controls are compared on the export's own source",
            where="--baseline",
            got=baseline,
            expected="source",
            hint="leave out --baseline, or --control",
        )
    return _source_of(model)


def _controlled(
    job: _Job, whole: Subject, source: MoEModel, results: Results, progress: Progress
) -> Comparison:
    """Score the source with all its experts and with those of each control."""
    del source
    options = job.request.scoring(progress)
    with Scorer.load(whole.folder, whole.name, options) as scorer:
        comparison = compare(results, scorer.score(job.scored, whole.name))
        found = tuple(one.score(results, scorer, job.scored) for one in job.controls)
    return replace(comparison, controls=found)


def _score(job: _Job, model: Subject, progress: Progress) -> Results:
    options = job.request.scoring(progress)
    with Scorer.load(model.folder, model.name, options) as scorer:
        return scorer.score(job.scored, model.name)
