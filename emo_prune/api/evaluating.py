"""From an export (or any checkpoint) and a task to figures, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field

from emo_prune.api.calibrating import chat_template
from emo_prune.api.exporting import find_source
from emo_prune.api.subject import Subject, subject
from emo_prune.api.watcher import Advance, Watcher
from emo_prune.errors import EvaluationError
from emo_prune.evaluation import (
    Comparison,
    Results,
    compare,
    evaluate,
    refuse_overlap,
)
from emo_prune.tasks import EvaluationSet, Task, TaskOptions, evaluation_set


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatToScore:
    """A model (an export, another folder, or a Hub id) and what to ask it, and how."""

    model: str
    task: Task
    options: TaskOptions = field(default_factory=TaskOptions)
    limit: int | None = None
    allow_overlap: bool = False
    device: str | None = None
    dtype: str = "auto"
    batch_size: int | None = None
    share_prefixes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateRequest(WhatToScore):
    """What to score, on what, and against what.

    baseline: a folder or Hub id; "source" is the checkpoint that the export records;
    None compares with nothing.
    """

    baseline: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A request whose every part has been found and checked."""

    request: EvaluateRequest
    model: Subject
    baseline: Subject | None
    scored: EvaluationSet


def evaluate_task(
    request: EvaluateRequest, watcher: Watcher | None = None
) -> tuple[Results, Comparison | None]:
    """Score a checkpoint through lm-eval and compare it with its baseline.

    Raises:
        CalibrationOverlap: a document to be scored has chosen experts.
        EmoPruneError: model, baseline or task cannot be used.
    """
    (outcome,) = evaluate_tasks([request], watcher)
    return outcome


def evaluate_tasks(
    requests: Sequence[EvaluateRequest], watcher: Watcher | None = None
) -> Iterator[tuple[Results, Comparison | None]]:
    """Score several checkpoints; all are found and checked before the first is run.

    A baseline that several share on the same task is scored once.

    Raises:
        CalibrationOverlap, EmoPruneError: as `evaluate_task`.
    """
    watcher = watcher or Watcher()
    jobs = [_prepare(request, watcher) for request in requests]
    known: dict[object, Results] = {}
    for job in jobs:
        results = _score(job, job.model, watcher)
        if job.baseline is None:
            yield results, None
            continue
        key = (job.baseline.folder, job.request.task, job.request.options)
        if key not in known:
            known[key] = _score(job, job.baseline, watcher)
        yield results, compare(results, known[key])


def _prepare(request: EvaluateRequest, watcher: Watcher) -> _Job:
    model = subject(request.model)
    baseline = None
    if request.baseline == "source":
        baseline = subject(_source_of(model))
    elif request.baseline is not None:
        baseline = subject(request.baseline)
    documents = model.documents | (baseline.documents if baseline else frozenset())
    scored = prompts_to_score(request, model, documents, watcher)
    return _Job(request=request, model=model, baseline=baseline, scored=scored)


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


def prompts_to_score(
    request: WhatToScore, model: Subject, documents: frozenset[str], watcher: Watcher
) -> EvaluationSet:
    """Build the prompts of a request, none of them of the given documents.

    Raises:
        CalibrationOverlap: one is, and the request does not allow it.
        EmoPruneError: the task, its data or the tokenizer cannot be used.
    """
    from emo_prune.models.loading import load_tokenizer

    watcher.say(f"building the prompts of {request.task.name}")
    render = None
    if request.task.kind == "examples":
        render = chat_template(load_tokenizer(model.folder))
    scored = evaluation_set(
        request.task, request.options, request.limit, render_messages=render
    )
    check_overlap(scored, documents, request.allow_overlap, watcher)
    return scored


def check_overlap(
    scored: EvaluationSet, documents: Set[str], allow: bool, watcher: Watcher
) -> None:
    """Raise `CalibrationOverlap` if documents are to be scored; or tell of them."""
    overlap = refuse_overlap(scored, documents, allow=allow)
    if overlap:
        watcher.say(f"{overlap} documents to be scored have chosen experts")


def _score(job: _Job, model: Subject, watcher: Watcher) -> Results:
    watcher.say(f"loading {model.name}")
    total = sum(len(part.document_sha256) for part in job.scored.tasks)
    with watcher.track(f"scoring {model.name}", total, "documents") as advance:
        results = evaluate(
            str(model.folder),
            job.scored,
            name=model.name,
            batch_size=job.request.batch_size,
            share_prefixes=job.request.share_prefixes,
            device=job.request.device,
            dtype=job.request.dtype,
            progress=in_documents(advance, total),
            say=watcher.say,
        )
    say_if_truncated(results, watcher)
    return results


def say_if_truncated(results: Results, watcher: Watcher) -> None:
    """Tell of prompts that did not fit into the model's context."""
    if results.num_truncated:
        watcher.say(
            f"{results.num_truncated} prompts are longer than the model's context of "
            f"{results.settings.max_length} tokens; their beginning is left out"
        )


def in_documents(advance: Advance, total: int) -> Callable[[int, int], None]:
    """Turn lm-eval's (requests done, in all) into advances of documents."""
    told = 0

    def progress(done: int, everything: int) -> None:
        nonlocal told
        documents = total * done // max(everything, 1)
        advance(documents - told)
        told = documents

    return progress
