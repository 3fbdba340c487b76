"""From a model and a task to a selection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emo_prune.architectures.opening import Opened, downloaded, open_model
from emo_prune.errors import SettingsError
from emo_prune.progress import Watcher
from emo_prune.routing import LayerRouting, Ranks, joined_ranks
from emo_prune.routing.calibration import Calibrated, ChoiceOptions, calibrate
from emo_prune.routing.in_memory import observe_loaded
from emo_prune.routing.streamed import (
    StreamedRun,
    must_stream,
    refuse_ranks,
    resolved_dtype,
    resumable,
)
from emo_prune.selection import (
    NEED_OUTPUTS,
    Keep,
    ScoresFile,
    Selection,
    check_score,
    read_scores,
    resolve_budget,
    select,
)
from emo_prune.selection.chooser import (
    Chooser,
    budget_facts,
    method_facts,
    model_facts,
    run_key,
)
from emo_prune.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectRequest(ChoiceOptions):
    """What to select, on what, and how.

    model: a folder or a Hub id. stream: layer by layer, or whole; None streams what
    does not fit into free memory. state: where a streamed run is saved after each
    layer, so that it can go on when it was interrupted; None saves nothing.
    """

    model: str
    task: Task
    revision: str | None = None
    greedy: bool = False
    stream: bool | None = None
    state: Path | None = None


def select_experts(
    request: SelectRequest,
    watcher: Watcher | None = None,
    *,
    write: Callable[[Selection, ScoresFile], None] = lambda _chosen, _counted: None,
) -> tuple[Selection, ScoresFile]:
    """Run a task's examples through a model and choose the experts it needs.

    Returns the selection, and everything counted, from which other budgets and scores
    can be selected (after a greedy pass that holds for this budget alone). `write` is
    called with both before the state of a streamed run is forgotten. Under `torchrun`
    each process takes its share of the examples; all return the same.

    Raises:
        BudgetError: before any model is loaded, if the budget is not possible.
        EmoPruneError: model, task or examples cannot be used.
    """
    watcher = watcher or Watcher()
    # Headers first: a budget that cannot be must not cost a download.
    seen = open_model(request.model, request.revision)
    chooser = Chooser.of(seen, request, greedy=request.greedy)
    opened = downloaded(seen, request.model)
    model = opened.model
    calibrated = calibrate(request.task, request, model.config, opened.folder, watcher)
    with joined_ranks() as ranks:
        streamed = request.stream
        if streamed is None:
            streamed = must_stream(model, request, ranks)
        observe = _streamed if streamed else _in_memory
        alone = streamed and ranks.size == 1
        with resumable(request.state if alone else None, watcher):
            routing = observe(request, opened, calibrated, chooser, ranks, watcher)
            if not request.greedy:
                for layer in routing:
                    chooser.choose(layer)
            selection = chooser.selection(
                model_facts(model, opened.fingerprint), calibrated.facts
            )
            scores = ScoresFile(
                model=selection.model,
                calibration=selection.calibration,
                versions=selection.versions,
                limits=chooser.limits,
                layers=tuple(routing),
            )
            write(selection, scores)
    return selection, scores


def select_from_scores(
    path: Path,
    keep: Keep,
    *,
    score: str = "frequency",
    lower_top_k: bool = False,
    seed: int | None = None,
) -> Selection:
    """Choose again from a scores file, by another budget or score; runs no model.

    `seed` matters for `random` alone; None is the calibration's.

    Raises:
        BadSelection: it is not a scores file.
        BudgetError, SelectionError: the budget or score is not possible.
    """
    check_score(score)
    scores = read_scores(path)
    budget = resolve_budget(keep, scores.limits, lower_top_k=lower_top_k)
    if seed is None:
        seed = int(scores.calibration.get("seed", 0))
    return Selection(
        model=scores.model,
        calibration=scores.calibration,
        method=method_facts(score, False, seed),
        budget=budget_facts(budget, scores.limits),
        layers=select(scores.layers, scores.limits, budget, score=score, seed=seed),
        versions=scores.versions,
    )


def _streamed(
    request: SelectRequest,
    opened: Opened,
    calibrated: Calibrated,
    chooser: Chooser,
    ranks: Ranks,
    watcher: Watcher,
) -> list[LayerRouting]:
    """Run the examples through one layer after the other."""
    if request.resume:
        refuse_ranks(ranks, "--resume")
    run = StreamedRun(
        model=opened.model,
        folder=opened.folder,
        options=request,
        key=run_key(opened.fingerprint, [chooser]),
        state=request.state if ranks.size == 1 else None,
        top_k=chooser.budget.top_k,
        outputs=request.score in NEED_OUTPUTS,
    )
    chooses = [chooser.choose if request.greedy else None]
    (routing,) = run.observe([calibrated], chooses, ranks, watcher)
    return routing


def _in_memory(
    request: SelectRequest,
    opened: Opened,
    calibrated: Calibrated,
    chooser: Chooser,
    ranks: Ranks,
    watcher: Watcher,
) -> list[LayerRouting]:
    """Load the whole model and run the examples."""
    from emo_prune.models.loading import load_model

    if request.resume:
        raise SettingsError(
            "only a streamed run can go on where it was interrupted",
            where="--resume",
            got="a model that is loaded whole",
            hint="add --stream if the interrupted run was streamed, or leave it out",
        )
    watcher.say(f"loading {opened.model.checkpoint.name}")
    device = request.device or ranks.device
    dtype = resolved_dtype(opened.model, request)
    loaded = load_model(opened.folder, device=device, dtype=dtype)
    batches = ranks.share(calibrated.batches)
    return observe_loaded(
        loaded, opened.model, batches, chooser, watcher, combine=ranks.combine
    )
