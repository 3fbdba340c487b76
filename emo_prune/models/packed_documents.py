"""A batch of packed documents on its way through the layers of a model in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from emo_prune.models.document_pool import PoolRouting, Reduce, route_by_document


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
