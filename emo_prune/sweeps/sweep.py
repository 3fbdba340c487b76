"""Tasks, budgets and scores in one run that can be stopped at any moment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emo_prune.architectures import MoEModel, dense_fingerprint
from emo_prune.architectures.opening import open_local
from emo_prune.checkpoint import Checkpoint, open_checkpoint
from emo_prune.evaluation.scored_model import scored_model as subject
from emo_prune.files import canonical_json, digest_of, versions
from emo_prune.progress import Progress, Silent
from emo_prune.routing import resolved_dtype
from emo_prune.selection import Budget, Keep, Limits, check_score, resolve_budget
from emo_prune.sweeps.bench import Bench
from emo_prune.sweeps.cells import CellOptions, Grid, Other, Subset
from emo_prune.sweeps.document import Sweep
from emo_prune.sweeps.jobs import Alone, Hire, complete
from emo_prune.sweeps.prompts import Prompts
from emo_prune.sweeps.ray_connection import check_ray
from emo_prune.sweeps.ray_workers import team
from emo_prune.sweeps.rows import PACKAGES, gathered
from emo_prune.sweeps.state import SweepState
from emo_prune.sweeps.tasks import SweepTask


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRequest(CellOptions):
    """What to sweep over: tasks, budgets, scores and sizes of calibration.

    sizes: numbers of examples; None is all. also: other models (folders or Hub ids),
    scored whole. ray: None, or the address of a Ray cluster that the work is fanned out
    over (`local` starts one). force: forget the finished cells of an earlier run.
    """

    model: str
    tasks: tuple[SweepTask, ...]
    keeps: tuple[Keep, ...]
    scores: tuple[str, ...]
    sizes: tuple[int | None, ...] = (100,)
    also: tuple[str, ...] = ()
    ray: str | None = None
    force: bool = False


def sweep(
    request: SweepRequest, state: Path, progress: Progress | None = None
) -> Sweep:
    """Score a model, and its subsets for every task, budget, score and size.

    For each task the examples pass through the model once (for each size), and every
    cell is scored with the model's routers masked: it is loaded once (by each worker of
    Ray), and nothing is exported. Finished cells are kept in the folder `state`, which
    this process alone writes to, and not computed again.

    Raises:
        StaleRun: the folder holds cells of another model, or of other options.
        SettingsError: Ray cannot be used.
        SweepError: workers of Ray died, or do not fit together.
        BudgetError, SelectionError: a budget or score is not possible.
        CalibrationOverlap: a document to be scored has chosen experts.
        EmoPruneError: a model or a task cannot be used.
    """
    progress = progress or Silent()
    for score in request.scores:
        check_score(score)
    if request.ray is not None:
        check_ray(request.ray, request.device)
    whole = subject(request.model)
    opened, identity = open_local(str(whole.folder))
    budgets = _budgets(request, opened)
    grid = Grid(
        whole=whole,
        opened=opened,
        identity=identity,
        state=SweepState(state, _key(request, opened, identity)),
        tasks=request.tasks,
        subsets=tuple(
            Subset(budget=budget, score=score, num_examples=size)
            for score in dict.fromkeys(request.scores)
            for size in dict.fromkeys(request.sizes)
            for budget in budgets
        ),
        others=tuple(_other(name) for name in dict.fromkeys(request.also)),
        options=request,
    )
    prompts = Prompts(whole, opened, request, progress)
    with grid.state.held(force=request.force):
        complete(grid, prompts, _hire(request, grid, prompts, progress), progress)
        return gathered(grid, budgets)


def _hire(
    request: SweepRequest, grid: Grid, prompts: Prompts, progress: Progress
) -> Hire:
    """Return who does the work: this process, or Ray's."""
    address = request.ray
    if address is not None:
        return lambda num_jobs: team(address, grid, num_jobs, progress)
    bench = Bench(grid.whole, grid.opened, grid.identity, request, prompts, progress)
    return lambda _: Alone(bench)


def _budgets(request: SweepRequest, opened: MoEModel) -> list[Budget]:
    """Return the budgets, each number of experts once."""
    found: dict[int, Budget] = {}
    for keep in request.keeps:
        budget = resolve_budget(
            keep, Limits.of(opened), lower_top_k=request.lower_top_k
        )
        found.setdefault(budget.num_experts, budget)
    return list(found.values())


def _key(request: SweepRequest, opened: MoEModel, identity: str) -> dict[str, object]:
    """Return what must be alike for cells to stand in one table."""
    return {
        "model": identity,
        "dtype": resolved_dtype(opened, request.dtype),
        "num_fewshot": request.options.num_fewshot,
        "answer": request.options.answer,
        "protocol": request.options.protocol,
        "seed": request.options.seed,
        "limit": request.limit,
        "lower_top_k": request.lower_top_k,
        "versions": versions(*PACKAGES),
    }


def _other(model: str) -> Other:
    found = subject(model)
    checkpoint = open_checkpoint(str(found.folder))
    return Other(
        subject=found, num_bytes=checkpoint.num_bytes, identity=_identity(checkpoint)
    )


def _identity(checkpoint: Checkpoint) -> str:
    """Tell checkpoints of any kind apart, by all of the config and samples of weights.

    A fingerprint leaves out keys that decide the type of numbers a model computes with.
    """
    facts = (canonical_json(dict(checkpoint.config)), dense_fingerprint(checkpoint))
    return digest_of(fact.encode() for fact in facts)
