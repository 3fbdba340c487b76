"""From router logits to each token's experts, and the loss that keeps them even."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

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


class Router(Protocol):
    """What the loss needs to know of a layer's router."""

    top_k: int
    num_shared_experts: int
    always_active_experts: tuple[int, ...]


def load_balancing_loss(
    router_logits: Sequence[Tensor],
    routers: Iterable[Router],
    *,
    token_mask: Tensor | None = None,
    num_items_in_batch: Tensor | int | None = None,
) -> Tensor:
    """Average over the layers of `E / (k * N) * sum_i counts_i * mean_probability_i`.

    E, k, counts and probabilities are those of the experts that compete: shared and
    always active ones take no part. `router_logits` has one [tokens, experts] per
    MoE layer (counts may differ), `token_mask` [tokens] is true where a token
    counts. N is `num_items_in_batch`, the tokens of a whole accumulated batch, or
    else the tokens that count here. An even router gives 1.

    The EMO authors' fine-tuning loss, with two repairs: their version without mask
    and labels divides by k * N twice, and ignores the attention mask when there
    are labels.
    """
    losses = [
        _layer_loss(logits, router, token_mask, num_items_in_batch)
        for logits, router in zip(router_logits, routers, strict=True)
    ]
    device = losses[0].device
    return torch.stack([loss.to(device) for loss in losses]).mean()


def _layer_loss(
    logits: Tensor,
    router: Router,
    token_mask: Tensor | None,
    num_items_in_batch: Tensor | int | None,
) -> Tensor:
    active = router.always_active_experts
    num_fixed = len(active) or router.num_shared_experts
    top_k = router.top_k - num_fixed
    num_experts = logits.shape[-1] - num_fixed
    if top_k == 0:  # nothing competes
        return logits.new_zeros((), dtype=torch.float32)

    probabilities = router_probabilities(
        logits,
        num_shared_experts=router.num_shared_experts,
        always_active_experts=active,
    )
    chosen = top_routed(probabilities, top_k, always_active_experts=active)
    picks = torch.zeros_like(probabilities).scatter(-1, chosen, 1.0)
    if token_mask is None:
        token_mask = logits.new_ones(logits.shape[0])
    weight = token_mask.to(logits.device, torch.float32)
    num_tokens = weight.sum().clamp(min=1)  # a batch of nothing but padding: 0, not NaN
    if num_items_in_batch is None:
        num_items_in_batch = num_tokens
    elif isinstance(num_items_in_batch, Tensor):
        num_items_in_batch = num_items_in_batch.to(logits.device)

    # always active experts are never picked, so their terms are 0
    products = (weight @ picks) * (weight @ probabilities) / num_tokens
    return products.sum() * num_experts / (top_k * num_items_in_batch)
