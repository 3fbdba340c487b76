"""A model scored with all its experts, and with those of each selection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emo_prune.api.evaluating import (
    WhatToScore,
    in_documents,
    prompts_to_score,
    say_if_truncated,
)
from emo_prune.api.opening import open_local
from emo_prune.api.subject import Subject, subject, subset_name
from emo_prune.api.watcher import Watcher
from emo_prune.architectures import MoEModel
from emo_prune.evaluation import Comparison, Results, compare, evaluate_with, scorer
from emo_prune.selection import Selection, check_selection
from emo_prune.tasks import EvaluationSet

if TYPE_CHECKING:
    from emo_prune.evaluation.language_model import ScoringLM


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionsRequest(WhatToScore):
    """A model, what to ask it, and the selections to score it with."""

    selections: tuple[Selection, ...]


def evaluate_selections(
    request: SelectionsRequest, watcher: Watcher | None = None
) -> Iterator[tuple[Results, Comparison | None]]:
    """Score a model, then what the export of each selection would be.

    The model is loaded once; for a selection its routers are masked, and nothing is
    written. All is checked before the model is loaded. The model's own results come
    first (compared with nothing), then those of the selections in their order, compared
    with it.

    Raises:
        CalibrationOverlap: a document to be scored has chosen experts.
        FingerprintMismatch, BadSelection: a selection is not one for this model.
        EmoPruneError: model or task cannot be used.
    """
    watcher = watcher or Watcher()
    whole = subject(request.model)
    opened, identity = open_local(str(whole.folder))
    for selection in request.selections:
        check_selection(selection, opened, identity)
    documents = whole.documents.union(
        *(selection.calibration["documents"] for selection in request.selections)
    )
    scored = prompts_to_score(request, whole, documents, watcher)
    yield from _score(request, whole, opened, scored, watcher)


def _score(
    request: SelectionsRequest,
    whole: Subject,
    opened: MoEModel,
    scored: EvaluationSet,
    watcher: Watcher,
) -> Iterator[tuple[Results, Comparison | None]]:
    from emo_prune.models.loading import load_model, load_tokenizer

    watcher.say(f"loading {whole.name}")
    model = load_model(whole.folder, device=request.device, dtype=request.dtype)
    baseline = None
    with scorer(
        model,
        load_tokenizer(whole.folder),
        batch_size=request.batch_size,
        share_prefixes=request.share_prefixes,
        say=watcher.say,
    ) as lm:
        for selection in (None, *request.selections):
            name = whole.name if selection is None else subset_name(selection)
            with routing_as(model, opened, selection):
                results = score_named(lm, scored, name, watcher)
            yield results, None if baseline is None else compare(results, baseline)
            baseline = baseline or results


def routing_as(
    model: Any, opened: MoEModel, selection: Selection | None
) -> AbstractContextManager[None]:
    """Return what makes the model route as a selection says; None changes nothing."""
    from emo_prune.routing.masking import masked

    if selection is None:
        return nullcontext()
    return masked(model, opened.architecture, selection.kept, selection.top_k)


def score_named(
    lm: ScoringLM, scored: EvaluationSet, name: str, watcher: Watcher
) -> Results:
    """Score by a lent model as it routes now, and tell of progress."""
    total = sum(len(part.document_sha256) for part in scored.tasks)
    with watcher.track(f"scoring {name}", total, "documents") as advance:
        lm.tell(in_documents(advance, total))
        results = evaluate_with(lm, scored, name=name)
    say_if_truncated(results, watcher)
    return results
