"""From a model and a task to a selection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emo_prune.api.calibrating import Calibrated, RunOptions, calibrate
from emo_prune.api.choosing import (
    Chooser,
    budget_facts,
    method_facts,
    model_facts,
    run_key,
)
from emo_prune.api.opening import open_local, open_model
from emo_prune.api.streaming import (
    StreamedRun,
    refuse_ranks,
    resumable,
    should_stream,
)
from emo_prune.api.watcher import Watcher
from emo_prune.architectures import MoEModel
from emo_prune.checkpoint import local_folder
from emo_prune.errors import SettingsError
from emo_prune.routing import LayerRouting, Ranks, joined_ranks
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
from emo_prune.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectRequest(RunOptions):
    """What to select, on what, and how.

    model: a folder or a Hub id. state: where a streamed run is saved after each layer,
    so that it can go on when it was interrupted; None saves nothing.
    """

    model: str
    task: Task
    revision: str | None = None
    greedy: bool = False
    state: Path | None = None


def select_experts(
    request: SelectRequest, watcher: Watcher | None = None
) -> tuple[Selection, ScoresFile]:
    """Run a task's examples through a model and choose the experts it needs.

    Returns the selection, and everything counted, from which other budgets and scores
    can be selected (after a greedy pass that holds for this budget alone). Under
    `torchrun` each process takes its share of the examples; all return the same.

    Raises:
        BudgetError: before any model is loaded, if the budget is not possible.
        EmoPruneError: model, task or examples cannot be used.
    """
    watcher = watcher or Watcher()
    # Headers first: a budget that cannot be must not cost a download.
    chooser = Chooser.of(
        open_model(request.model, request.revision), request, greedy=request.greedy
    )
    model, identity = open_local(request.model, request.revision)
    folder = local_folder(request.model, request.revision)
    calibrated = calibrate(request.task, request, model, folder, watcher)
    with joined_ranks() as ranks, resumable(request.state, watcher):
        if should_stream(model, request, ranks):
            run = _streamed(request, model, identity, folder, chooser, ranks)
            chooses = [chooser.choose if request.greedy else None]
            (routing,) = run.observe([calibrated], chooses, ranks, watcher)
        else:
            _refuse_streamed_options(request)
            routing = _in_memory(
                request, model, folder, calibrated, chooser, ranks, watcher
            )
        if not request.greedy:
            for layer in routing:
                chooser.choose(layer)
        facts = model_facts(model, identity)
        selection = chooser.selection(facts, calibrated.facts)
    scores = ScoresFile(
        model=facts,
        calibration=calibrated.facts,
        versions=selection.versions,
        limits=chooser.limits,
        layers=tuple(routing),
    )
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
    model: MoEModel,
    identity: str,
    folder: Path,
    chooser: Chooser,
    ranks: Ranks,
) -> StreamedRun:
    if request.resume:
        refuse_ranks(ranks, "--resume")
    return StreamedRun(
        model=model,
        folder=folder,
        options=request,
        key=run_key(identity, [chooser]),
        state=request.state if ranks.size == 1 else None,
        top_k=chooser.budget.top_k,
        outputs=request.score in NEED_OUTPUTS,
    )


def _refuse_streamed_options(request: SelectRequest) -> None:
    """Raise `SettingsError` for what only a streamed run can do."""
    if request.resume:
        raise SettingsError(
            "only a streamed run can go on where it was interrupted",
            where="--resume",
            got="a model that is loaded whole",
            hint="add --stream if the interrupted run was streamed, or leave it out",
        )


def _in_memory(
    request: SelectRequest,
    model: MoEModel,
    folder: Path,
    calibrated: Calibrated,
    chooser: Chooser,
    ranks: Ranks,
    watcher: Watcher,
) -> list[LayerRouting]:
    """Load the whole model and run the examples."""
    from emo_prune.models.loading import load_model
    from emo_prune.routing import observe, observe_greedy

    watcher.say(f"loading {model.checkpoint.name}")
    device = request.device or ranks.device
    loaded = load_model(folder, device=device, dtype=request.dtype)
    batches = ranks.share(calibrated.batches)
    passes = len(model.layers) if request.greedy else 1
    tokens = sum(int(batch.attention_mask.sum()) for batch in batches)
    with watcher.track("observing routing", passes * tokens, "tokens") as advance:
        if not request.greedy:
            return observe(
                loaded,
                model.architecture,
                batches,
                outputs=request.score in NEED_OUTPUTS,
                progress=advance,
                combine=ranks.combine,
            )
        return observe_greedy(
            loaded,
            model.architecture,
            batches,
            chooser.choose,
            chooser.budget.top_k,
            outputs=request.score in NEED_OUTPUTS,
            progress=advance,
            combine=ranks.combine,
        )
