"""What to ask a model, the prompts of that, and the scoring itself, with progress."""

from __future__ import annotations

from collections.abc import Callable, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_prune.evaluation import Results, evaluate_with, refuse_overlap, scorer
from emo_prune.evaluation.subject import Subject
from emo_prune.progress import Advance, Progress
from emo_prune.routing.calibration import chat_template
from emo_prune.tasks import EvaluationSet, Task, TaskOptions, evaluation_set

if TYPE_CHECKING:
    from emo_prune.evaluation.language_model import ScoringLM


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringOptions:
    """How prompts are made, and how a model answers them."""

    options: TaskOptions = field(default_factory=TaskOptions)
    limit: int | None = None
    allow_overlap: bool = False
    device: str | None = None
    dtype: str = "auto"
    batch_size: int | None = None
    share_prefixes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatToScore(ScoringOptions):
    """A model (an export, another folder, or a Hub id) and what to ask it, and how."""

    model: str
    task: Task


def prompts_to_score(
    request: WhatToScore, model: Subject, documents: Set[str], progress: Progress
) -> EvaluationSet:
    """Build the prompts of a request, none of them of the given documents.

    Raises:
        CalibrationOverlap: one is, and the request does not allow it.
        EmoPruneError: the task, its data or the tokenizer cannot be used.
    """
    from emo_prune.models.loading import load_tokenizer

    progress.say(f"building the prompts of {request.task.name}")
    render = None
    if request.task.kind == "examples":
        render = chat_template(load_tokenizer(model.folder))
    scored = evaluation_set(
        request.task, request.options, request.limit, render_messages=render
    )
    check_overlap(scored, documents, request.allow_overlap, progress)
    return scored


def check_overlap(
    scored: EvaluationSet, documents: Set[str], allow: bool, progress: Progress
) -> None:
    """Raise `CalibrationOverlap` if documents are to be scored; or tell of them."""
    overlap = refuse_overlap(scored, documents, allow=allow)
    if overlap:
        progress.say(f"{overlap} documents to be scored have chosen experts")


def lent(
    model: Any, folder: Path, options: ScoringOptions, progress: Progress
) -> AbstractContextManager[ScoringLM]:
    """Lend a loaded model to lm-eval; `folder` holds its tokenizer."""
    from emo_prune.models.loading import load_tokenizer

    return scorer(
        model,
        load_tokenizer(folder),
        batch_size=options.batch_size,
        share_prefixes=options.share_prefixes,
        say=progress.say,
    )


def score_named(
    lm: ScoringLM, scored: EvaluationSet, name: str, progress: Progress
) -> Results:
    """Score by a lent model as it routes now, and tell of progress."""
    total = sum(len(part.document_sha256) for part in scored.tasks)
    with progress.track(f"scoring {name}", total, "documents") as advance:
        lm.tell(in_documents(advance, total))
        results = evaluate_with(lm, scored, name=name)
    say_if_truncated(results, progress)
    return results


def say_if_truncated(results: Results, progress: Progress) -> None:
    """Tell of prompts that did not fit into the model's context."""
    if results.num_truncated:
        progress.say(
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
