"""From the routing of a model's layers to the experts that stay, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from emo_prune.architectures import Limits, MoEModel
from emo_prune.errors import Parameter, RoutingError
from emo_prune.facts import SELECTING, Calibration, SourceModel
from emo_prune.files import versions
from emo_prune.options import BudgetOptions
from emo_prune.progress import Progress
from emo_prune.routing import LayerRouting
from emo_prune.routing.counts import Combine, Sums
from emo_prune.selection.budget import Budget, parse_keep, resolve_budget
from emo_prune.selection.document import (
    KeptExperts,
    LayerSelection,
    Method,
    Selection,
)
from emo_prune.selection.scores import (
    needs_outputs,
    random_scores,
    score_layer,
    score_packages,
)

if TYPE_CHECKING:
    from emo_prune.routing import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Chooser:
    """Chooses the experts of each layer it is shown, and remembers the choices.

    greedy: each layer is observed with the earlier ones already pruned.
    """

    limits: Limits
    budget: Budget
    score: str
    seed: int
    greedy: bool
    chosen: list[LayerSelection] = field(default_factory=list)

    @classmethod
    def of(
        cls, limits: Limits, options: BudgetOptions, *, seed: int, greedy: bool = False
    ) -> Chooser:
        """Return a chooser for a model, before anything is loaded.

        Raises:
            BudgetError: the budget is not possible.
            SelectionError: the score cannot be had.
        """
        needs_outputs(options.score)  # imports the package that brings it
        budget = resolve_budget(
            parse_keep(options.keep), limits, lower_top_k=options.lower_top_k
        )
        return cls(
            limits=limits,
            budget=budget,
            score=options.score,
            seed=seed,
            greedy=greedy,
        )

    @property
    def method(self) -> Method:
        """What a selection says of how it was chosen."""
        return Method(score=self.score, greedy=self.greedy, seed=self.seed)

    @property
    def kept_experts(self) -> KeptExperts:
        """What a selection says of its budget."""
        return KeptExperts(
            keep=self.budget.num_experts / max(self.limits.num_experts.values()),
            num_experts=self.budget.num_experts,
            num_experts_per_tok=self.budget.top_k,
        )

    @property
    def text(self) -> str:
        """The budget in numbers: "25 experts (19.5 %) of 128 in each layer"."""
        kept, total = self.kept_experts, max(self.limits.num_experts.values())
        share = f"{100 * kept.keep:.1f} %"
        return f"{kept.num_experts} experts ({share}) of {total} in each layer"

    @property
    def num_kept(self) -> dict[int, int]:
        """How many experts each layer keeps."""
        return {
            layer: self.budget.of_layer(total)
            for layer, total in self.limits.num_experts.items()
        }

    @property
    def needs_outputs(self) -> bool:
        """Whether the experts' outputs must be observed."""
        return needs_outputs(self.score)

    def choose(self, routing: LayerRouting) -> tuple[int, ...]:
        """Choose the experts of the next layer; return their ids, ascending.

        Raises:
            SelectionError, RoutingError: as `choose_layer`.
        """
        layer = choose_layer(
            routing, self.limits, self.budget, score=self.score, seed=self.seed
        )
        self.chosen.append(layer)
        return layer.kept

    def observe(
        self,
        loaded: Any,
        model: MoEModel,
        batches: Sequence[Batch],
        progress: Progress,
        combine: Combine = lambda routing: routing,
    ) -> list[LayerRouting]:
        """Run batches through a loaded model, choose, and return the layers' routing.

        `combine` adds up what several processes have counted. A greedy choice prunes
        the model in place for the time it is observed.

        Raises:
            RoutingError: a router gives NaN, there are no experts where they should
                be, or the model fails.
        """
        from emo_prune.routing import observe, observe_greedy

        passes = len(model.layers) if self.greedy else 1
        tokens = passes * sum(batch.num_tokens for batch in batches)
        with progress.track("observing routing", tokens, "tokens") as advance:
            if self.greedy:
                return observe_greedy(
                    loaded,
                    model.architecture,
                    batches,
                    self.choose,
                    self.budget.top_k,
                    outputs=self.needs_outputs,
                    progress=advance,
                    combine=combine,
                )
            layers = observe(
                loaded,
                model.architecture,
                batches,
                outputs=self.needs_outputs,
                progress=advance,
                combine=combine,
            )
        for layer in layers:
            self.choose(layer)
        return layers

    def selection(self, model: SourceModel, calibration: Calibration) -> Selection:
        """Return the selection, once every layer has been chosen."""
        return Selection(
            model=model,
            calibration=calibration,
            method=self.method,
            budget=self.kept_experts,
            layers=tuple(self.chosen),
            versions=versions(*SELECTING, *score_packages(self.score)),
        )


def choose_layer(
    routing: LayerRouting, limits: Limits, budget: Budget, *, score: str, seed: int = 0
) -> LayerSelection:
    """Choose the experts of one layer.

    Shared and always-active experts stay and count. Ties go to the expert with more
    probability mass, then to the lower id. Where routing is limited to groups, each
    group keeps the same number.

    Raises:
        RoutingError: a score is not a finite number, or no token was seen.
    """
    kept = _choose(routing, limits, budget, score, seed)
    halves = [routing.half(0), routing.half(1)]
    stability = None
    if score != "random" and all(half.num_tokens.sum() for half in halves):
        first, second = (_choose(half, limits, budget, score, seed) for half in halves)
        stability = _overlap(first, second, limits.obligatory[routing.layer])
    routed = _routed(routing.layer, limits)
    held = np.intersect1d(routed, kept)
    picks, mass = routing.picks.sum(axis=0), routing.mass.sum(axis=0)
    return LayerSelection(
        layer=routing.layer,
        kept=tuple(int(expert) for expert in kept),
        retained_mass=_share(mass[held].sum(), mass[routed].sum()),
        retained_picks=_share(picks[held].sum(), picks[routed].sum()),
        stability=stability,
        effective_experts=_effective(picks[routed]),
    )


def choose_at_random(
    limits: Limits, budget: Budget, seed: int
) -> dict[int, tuple[int, ...]]:
    """Return the experts of each layer that the score `random` would choose."""
    chosen = {}
    for layer, total in limits.num_experts.items():
        scores, ties = random_scores(layer, total, seed), np.zeros(total)
        kept = _pick(layer, limits, budget, scores, ties)
        chosen[layer] = tuple(int(expert) for expert in kept)
    return chosen


def source_model(model: MoEModel, fingerprint: str) -> SourceModel:
    """Return what documents say of a model."""
    return SourceModel(
        name=model.checkpoint.name,
        revision=model.checkpoint.revision,
        fingerprint=fingerprint,
        model_type=model.architecture.model_type,
        num_experts=model.num_experts,
        num_shared_experts=model.num_shared_experts,
        num_experts_per_tok=model.top_k,
    )


def run_key(fingerprint: str, choosers: Sequence[Chooser]) -> dict[str, Any]:
    """Return what an interrupted run and its continuation must choose alike."""
    packages = {name for one in choosers for name in score_packages(one.score)}
    return {
        "model": fingerprint,
        "choices": [
            {**chooser.method.to_dict(), **chooser.kept_experts.to_dict()}
            for chooser in choosers
        ],
        **({"scores": versions(*sorted(packages))} if packages else {}),
    }


def _choose(
    routing: LayerRouting, limits: Limits, budget: Budget, score: str, seed: int
) -> npt.NDArray[np.int64]:
    if not routing.num_tokens.sum():
        raise RoutingError(
            "no calibration token went through the layer",
            where=f"layer {routing.layer}",
            hint="give examples with text in them",
        )
    mass = routing.mass.sum(axis=0)
    scores = score_layer(routing, score, seed) if np.isfinite(mass).all() else mass
    if not (np.isfinite(scores).all() and np.isfinite(mass).all()):
        raise RoutingError(
            "a score is not a finite number",
            where=f"layer {routing.layer}",
            got=f"expert {int(np.argmin(np.isfinite(scores + mass)))}",
            hint=(
                *("the weights overflow; try ", Parameter("dtype", "float32")),
                ", or check the checkpoint",
            ),
        )
    return _pick(routing.layer, limits, budget, scores, mass)


def _pick(
    layer: int, limits: Limits, budget: Budget, scores: Sums, mass: Sums
) -> npt.NDArray[np.int64]:
    """Return the obligatory experts of a layer and the best others, ascending."""
    obligatory = limits.obligatory[layer]
    wanted = budget.of_layer(limits.num_experts[layer])
    routed = _routed(layer, limits)
    if limits.group_picks:
        groups = routed.reshape(limits.num_groups, -1)
        each = wanted // limits.num_groups
        chosen = [_best(group, scores, mass, each) for group in groups]
        return np.sort(np.concatenate(chosen))
    best = _best(routed, scores, mass, wanted - len(obligatory))
    return np.sort(np.concatenate([best, np.array(obligatory, dtype=np.int64)]))


def _best(
    experts: npt.NDArray[np.int64], scores: Sums, mass: Sums, count: int
) -> npt.NDArray[np.int64]:
    """Return the `count` best experts: by score, then mass, then lower id."""
    order = np.lexsort((experts, -mass[experts], -scores[experts]))
    return experts[order[:count]]


def _routed(layer: int, limits: Limits) -> npt.NDArray[np.int64]:
    """Return the ids of the experts that compete for tokens."""
    everyone = np.arange(limits.num_experts[layer], dtype=np.int64)
    obligatory = np.array(limits.obligatory[layer], dtype=np.int64)
    return np.setdiff1d(everyone, obligatory)


def _overlap(
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    obligatory: Sequence[int],
) -> float:
    """Return the share of routed experts that two choices have in common."""
    routed = len(first) - len(obligatory)
    common = len(np.intersect1d(first, second)) - len(obligatory)
    return round(common / routed, 6) if routed else 1.0


def _share(part: float, whole: float) -> float:
    return round(float(part / whole), 6) if whole else 0.0


def _effective(picks: npt.NDArray[np.int64]) -> float:
    """Return exp(entropy) of the picks: how many evenly used experts they equal."""
    shares = picks[picks > 0] / max(int(picks.sum()), 1)
    return round(float(np.exp(-(shares * np.log(shares)).sum())), 3)
