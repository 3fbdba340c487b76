"""From router logits to each token's experts and their weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def router_probabilities(
    logits: Tensor,
    *,
    num_shared_experts: int = 0,
    always_active_experts: Sequence[int] = (),
) -> Tensor:
    """Return the softmax over the experts that share one budget of probability.

    The shared experts, the last ones, are left out; where some experts are always
    active there is one softmax over all. `logits` [tokens, experts], any dtype;
    the result [tokens, experts or routed experts] is float32.
    """
    shared = 0 if always_active_experts else num_shared_experts
    routed = logits[..., : logits.shape[-1] - shared]
    return routed.softmax(dim=-1, dtype=torch.float32)


def top_routed(
    probabilities: Tensor, count: int, *, always_active_experts: Sequence[int] = ()
) -> Tensor:
    """Return the ids [tokens, count] of the likeliest experts that compete."""
    if always_active_experts:
        ids = torch.tensor(always_active_experts, device=probabilities.device)
        probabilities = probabilities.index_fill(-1, ids, float("-inf"))
    return probabilities.topk(count, dim=-1).indices


def route(
    logits: Tensor,
    *,
    top_k: int,
    num_shared_experts: int = 0,
    always_active_experts: Sequence[int] = (),
    norm_topk_prob: bool = False,
) -> tuple[Tensor, Tensor]:
    """Choose `top_k` experts for each token: weights (float32) and ids (int64).

    `logits` [tokens, experts] -> two tensors [tokens, top_k]. Routed experts come
    first, by falling probability, then those that never compete: the always active
    ones with their share of the one softmax, or the shared ones with a softmax of
    their own (a single shared expert thus weighs exactly 1). Weights are not
    renormalised unless `norm_topk_prob`. After the EMO authors' inference code,
    https://github.com/allenai/EMO.
    """
    probabilities = router_probabilities(
        logits,
        num_shared_experts=num_shared_experts,
        always_active_experts=always_active_experts,
    )
    num_experts = logits.shape[-1]
    fixed = tuple(always_active_experts) or tuple(
        range(num_experts - num_shared_experts, num_experts)
    )
    routed = top_routed(
        probabilities, top_k - len(fixed), always_active_experts=always_active_experts
    )
    weights = probabilities.gather(-1, routed)
    if norm_topk_prob:
        weights = weights / weights.sum(dim=-1, keepdim=True)
    if not fixed:
        return weights, routed
    ids = torch.tensor(fixed, device=logits.device).expand(*logits.shape[:-1], -1)
    if always_active_experts:
        fixed_weights = probabilities.gather(-1, ids)
    else:
        fixed_weights = logits.gather(-1, ids).softmax(dim=-1, dtype=torch.float32)
    return (
        torch.cat((weights, fixed_weights), dim=-1),
        torch.cat((routed, ids), dim=-1),
    )
