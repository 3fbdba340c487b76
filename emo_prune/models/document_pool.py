"""The router of EMO pretraining: the tokens of a document share one pool of experts.

Per document and layer the routed experts are ranked by their softmax summed over the
document's tokens. Outside the best `pool_size` their logits are minus infinity, and
each token picks its top-k among what is left. After arXiv 2605.06663; where paper and
code differ, as in the authors' code, https://github.com/allenai/EMO. Inference knows
no pools. Shapes: B sequences, S tokens, D documents of the batch, E routed experts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from emo_prune.models.routing import router_probabilities

Reduce = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRouting:
    """Where a layer sends the tokens of a batch, and what that costs.

    weights: float32 [B, S, k], not renormalised, shared experts last, with weight 1.
    indices: int64 [B, S, k]; shared experts have the last ids.
    counts: int64 [experts], tokens sent to each, shared ones included.
    probabilities: float32 [B, S, E], what weights are taken from; 0 outside the pool.
    pool: bool [D, E], the experts that each document may use; None without pools.
    load_balancing_loss, z_loss: scalars without their coefficients, for one layer.
    """

    weights: Tensor
    indices: Tensor
    counts: Tensor
    probabilities: Tensor
    pool: Tensor | None
    load_balancing_loss: Tensor
    z_loss: Tensor


def route_by_document(
    hidden: Tensor,
    router_weight: Tensor,
    documents: Tensor,
    pool_size: int | Tensor | None,
    *,
    top_k: int,
    num_shared_experts: int,
    reduce: Reduce = lambda counted: counted,
) -> PoolRouting:
    """Route the tokens of packed documents, in one go for all documents.

    Args:
        hidden: [B, S, width], any dtype; logits are taken to float32.
        router_weight: [experts, width]; the last rows, those of shared experts, take no
            part.
        documents: int64 [B, S], from `number_documents`.
        pool_size: routed experts in a pool, one number or int64 [D]; from top_k less
            shared experts up. As many as there are, or more, mean no pool at all; None
            means it for every document: a standard MoE. One number makes the host wait
            for the device, a tensor does not.
        top_k: experts of a token, shared ones included.
        num_shared_experts: the last ids; every token goes to them, with weight 1.
        reduce: adds up, over data-parallel ranks, an int64 [E + 1] of the tokens sent
            to each expert and of all tokens, so that experts are balanced over all.
    """
    num_routed = router_weight.shape[0] - num_shared_experts
    logits = functional.linear(hidden, router_weight[:num_routed]).float()
    pool = None
    if pool_size is not None:
        pool = document_pools(logits, documents, pool_size)
        # Membership carries no gradient; the logits that stay do.
        logits = logits.masked_fill(~pool[documents], float("-inf"))
    probabilities = router_probabilities(logits)
    weights, indices = probabilities.topk(top_k - num_shared_experts, dim=-1)
    picks = indices.flatten()
    # Not bincount, which waits for the device to learn the largest id.
    counts = picks.new_zeros(num_routed).scatter_add_(0, picks, torch.ones_like(picks))
    num_tokens = counts.new_full((1,), documents.numel())
    counted = reduce(torch.cat([counts, num_tokens]))
    shared = torch.arange(num_routed, len(router_weight), device=indices.device)
    shared = shared.expand(*indices.shape[:-1], -1)
    return PoolRouting(
        weights=torch.cat([weights, weights.new_ones(shared.shape)], dim=-1),
        indices=torch.cat([indices, shared], dim=-1),
        counts=torch.cat([counts, num_tokens.expand(num_shared_experts)]),
        probabilities=probabilities,
        pool=pool,
        load_balancing_loss=_load_balancing(
            probabilities, counted[:-1], counted[-1], weights.shape[-1]
        ),
        z_loss=logits.logsumexp(dim=-1).square().mean(),
    )


@torch.no_grad()
def document_pools(
    logits: Tensor, documents: Tensor, pool_size: int | Tensor
) -> Tensor:
    """Return which experts each document may use, bool [D, E].

    The best by the softmax of `logits` [B, S, E] summed over the document's tokens.
    """
    probabilities = router_probabilities(logits).flatten(0, 1)
    if isinstance(pool_size, int):
        pool_size = torch.full((int(documents.max()) + 1,), pool_size)
    scores = probabilities.new_zeros(len(pool_size), logits.shape[-1])
    scores.index_add_(0, documents.flatten(), probabilities)
    ranks = scores.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    return ranks < pool_size.to(logits.device)[:, None]


def number_documents(document_ends: Sequence[Sequence[int]], length: int) -> Tensor:
    """Return the document of each token, int64 [B, S], numbered through the batch.

    `document_ends` holds the exclusive ends of each sequence's documents, ascending;
    what comes after the last is a document of its own.
    """
    ids = torch.zeros(len(document_ends), length, dtype=torch.long)
    for row, ends in enumerate(document_ends):
        starts = [end for end in ends if 0 < end < length]
        ids[row, starts] = 1
    ids[:, 0] = 1
    return ids.flatten().cumsum(0).reshape(ids.shape) - 1


def _load_balancing(
    probabilities: Tensor, counts: Tensor, num_tokens: Tensor, num_picks: int
) -> Tensor:
    """Return E / k * sum_i counts_i / tokens * mean probability_i, here over one rank.

    `counts` and `num_tokens` are of all ranks, the probabilities of this one: they
    carry the gradient. An even router gives 1.
    """
    share = counts / num_tokens
    mean = probabilities.flatten(0, 1).mean(dim=0)
    return (share * mean).sum() * probabilities.shape[-1] / num_picks


class TrainedRouter(Protocol):
    """What routing by documents needs to know of a layer's router."""

    top_k: int
    num_shared_experts: int

    @property
    def weight(self) -> Tensor:
        """[experts, width]."""


class PackedDocuments:
    """Which tokens share a document, and how many experts it may use in each layer.

    The forward pass routes by it and leaves in `routings` what each MoE layer did, so
    that auxiliary losses and metrics can be made of it afterwards. One is made for each
    forward pass.
    """

    def __init__(
        self,
        documents: Tensor,
        pool_sizes: Tensor | None,
        *,
        reduce: Callable[[int, Tensor], Tensor] = lambda _, counted: counted,
    ) -> None:
        """Hold the documents of a batch.

        Args:
            documents: int64 [B, S], each token's document, counted through the batch.
            pool_sizes: int64 [layers, D], routed experts in a document's pool; None
                for a standard MoE.
            reduce: given a layer and its int64 [E + 1] counts, adds up those of all
                that experts are balanced over (see `route_by_document`).
        """
        self.documents = documents
        self.pool_sizes = pool_sizes
        self.routings: dict[int, PoolRouting] = {}
        self._reduce = reduce

    def route(self, layer: int, hidden: Tensor, router: TrainedRouter) -> PoolRouting:
        """Route a layer's tokens, hidden [B, S, width]."""
        sizes = self.pool_sizes
        routing = route_by_document(
            hidden,
            router.weight,
            self.documents,
            None if sizes is None else sizes[layer],
            top_k=router.top_k,
            num_shared_experts=router.num_shared_experts,
            reduce=self._reducer(layer),
        )
        self.routings[layer] = routing
        return routing

    def _reducer(self, layer: int) -> Reduce:
        return lambda counted: self._reduce(layer, counted)
