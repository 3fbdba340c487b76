"""A model scored with all its experts, and with those of each selection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from emo_prune.architectures.opening import open_local
from emo_prune.evaluation import Comparison, Results, compare
from emo_prune.evaluation.control_plans import WantedControl, plan_controls
from emo_prune.evaluation.masked_model import masked_model
from emo_prune.evaluation.scoring import WhatToScore, prompts_to_score
from emo_prune.evaluation.subject import subject, subset_name
from emo_prune.progress import Progress, Silent
from emo_prune.selection import Selection, check_selection


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionsRequest(WhatToScore):
    """A model, what to ask it, the selections to score it with, and their controls."""

    selections: tuple[Selection, ...]
    controls: tuple[WantedControl, ...] = ()


def evaluate_selections(
    request: SelectionsRequest, progress: Progress | None = None
) -> Iterator[tuple[Results, Comparison | None]]:
    """Score a model, then what the export of each selection would be.

    The model is loaded once; for a selection its routers are masked, and nothing is
    written. All is checked before the model is loaded. The model's own results come
    first (compared with nothing), then those of the selections in their order, compared
    with it and with their controls.

    Raises:
        CalibrationOverlap: a document to be scored has chosen experts.
        FingerprintMismatch, BadSelection: a selection is not one for this model.
        EmoPruneError: model or task cannot be used.
    """
    progress = progress or Silent()
    whole = subject(request.model)
    opened, identity = open_local(str(whole.folder))
    documents = set(whole.documents)
    for selection in request.selections:
        check_selection(selection, opened, identity)
        documents.update(selection.calibration.documents)
    planned = plan_controls(
        request.controls,
        request.selections,
        opened,
        whole.folder,
        request.options.data_dir,
        progress,
    )
    documents.update(*(one.documents for controls in planned for one in controls))
    scored = prompts_to_score(request, whole, frozenset(documents), progress)
    with masked_model(request, whole, opened, scored, progress) as model:
        baseline = model.whole()
        yield baseline, None
        for selection, controls in zip(request.selections, planned, strict=True):
            name, top_k = subset_name(selection), selection.top_k
            results = model.score(name, selection.kept, top_k)
            found = tuple(one.score(results, model) for one in controls)
            yield results, replace(compare(results, baseline), controls=found)
