"""The loss that keeps routed experts evenly used while fine-tuning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from emo_prune.models.routing import router_probabilities, top_routed


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
