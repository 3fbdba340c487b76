"""From routing to a score per expert. The higher, the more the task needs it.

Every function takes the routing of one layer and returns float64 [experts]; it knows
nothing of shared experts or budgets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from emo_prune.errors import SelectionError
from emo_prune.routing.counts import LayerRouting, Sums

# Scores that need the output of every routed expert, not the router alone.
NEED_OUTPUTS = frozenset({"easy-ep", "reap"})


def frequency(routing: LayerRouting) -> Sums:
    """Share of all top-k picks."""
    picks = routing.picks.sum(axis=0)
    return np.asarray(picks / max(int(picks.sum()), 1), dtype=np.float64)


def probability(routing: LayerRouting) -> Sums:
    """Mean router probability over tokens: the EMO authors' score.

    EMoE's gate chooses hard, and has no probabilities of its own: for it they are the
    softmax of the avg-k scores over the experts.
    """
    tokens = max(int(routing.num_tokens.sum()), 1)
    return np.asarray(routing.mass.sum(axis=0) / tokens)


def easy_ep(routing: LayerRouting) -> Sums:
    """EASY-EP (arXiv 2504.06792): weighted output norms of the tokens that change."""
    return np.asarray(_observed(routing.token_weighted, "easy-ep").sum(axis=0))


def reap(routing: LayerRouting) -> Sums:
    """REAP (arXiv 2510.13999): mean weighted output norm over the tokens picked for."""
    norms = _observed(routing.weighted_norms, "reap").sum(axis=0)
    picks = routing.picks.sum(axis=0)
    means = np.divide(norms, picks, out=np.zeros_like(norms), where=picks > 0)
    return np.asarray(means)


SCORES: Mapping[str, Callable[[LayerRouting], Sums]] = {
    "frequency": frequency,
    "probability": probability,
    "easy-ep": easy_ep,
    "reap": reap,
}
SCORE_NAMES = (*SCORES, "random")


def score_layer(routing: LayerRouting, score: str, seed: int) -> Sums:
    """Return the scores of one layer's experts; `seed` matters for `random` alone.

    Raises:
        SelectionError: no such score, or the routing lacks what it needs.
    """
    if score == "random":
        order = np.random.default_rng([seed, routing.layer])
        return order.permutation(routing.num_experts).astype(np.float64)
    check_score(score)
    return SCORES[score](routing)


def check_score(score: str) -> None:
    """Raise `SelectionError` for a score that does not exist."""
    if score not in SCORE_NAMES:
        raise SelectionError(
            "there is no such score",
            where="--score",
            got=repr(score),
            expected=", ".join(SCORE_NAMES),
            hint="try --score frequency",
        )


def _observed(sums: Sums | None, score: str) -> Sums:
    if sums is None:
        raise SelectionError(
            f"the routing was observed without what {score} needs",
            where="the scores file",
            got="no outputs of experts",
            hint=f"run select --score {score} --save-scores on the model",
        )
    return sums
