"""Which experts of a layer stay, and how much of the routing they hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from emo_prune.architectures import Limits
from emo_prune.errors import RoutingError
from emo_prune.routing.counts import LayerRouting, Sums
from emo_prune.selection.budget import Budget
from emo_prune.selection.document import LayerSelection
from emo_prune.selection.scores import random_scores, score_layer


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


def _choose(
    routing: LayerRouting, limits: Limits, budget: Budget, score: str, seed: int
) -> npt.NDArray[np.int64]:
    if not routing.num_tokens.sum():
        raise RoutingError(
            "no calibration token went through the layer",
            where=f"layer {routing.layer}",
            hint="give examples with text in them",
        )
    scores = score_layer(routing, score, seed)
    mass = routing.mass.sum(axis=0)
    if not (np.isfinite(scores).all() and np.isfinite(mass).all()):
        raise RoutingError(
            "a score is not a finite number",
            where=f"layer {routing.layer}",
            got=f"expert {int(np.argmin(np.isfinite(scores + mass)))}",
            hint="the weights overflow; try --dtype float32, or check the checkpoint",
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
