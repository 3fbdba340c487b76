"""How evenly experts are used while they learn: what balances them, what is noted.

Experts are balanced over the tokens of all ranks, of a whole optimiser step, or of one
micro-batch. The metrics say what routers do, as a few numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
import torch.distributed
from torch import Tensor

from emo_prune.models.document_pool import PoolRouting

NAMES = (
    "load_balancing_loss",
    "router_z_loss",
    "token_entropy",
    "document_entropy",
    "experts_per_document",
    "largest_share",
)


class Balance:
    """Adds up how many tokens each expert of a layer was sent.

    global: over the data-parallel ranks, as EMO was trained.
    accumulated: over the micro-batches of the optimiser step that were before, too.
    local: the tokens of the rank alone, for comparison.
    """

    def __init__(self, over: Literal["global", "accumulated", "local"]) -> None:
        self._over = over
        self._micro_batch = 0
        self._seen: dict[int, dict[int, Tensor]] = {}

    def begin(self, micro_batch: int) -> None:
        """Hear which micro-batch of an optimiser step comes next, from 0."""
        self._micro_batch = micro_batch
        if micro_batch == 0:
            self._seen.clear()

    def __call__(self, layer: int, counted: Tensor) -> Tensor:
        """Return a layer's counts, added up; `counted` is this micro-batch's."""
        if self._over == "local":
            return counted
        if torch.distributed.is_initialized():
            counted = counted.clone()
            torch.distributed.all_reduce(counted)
        if self._over == "global":
            return counted
        # By number, since checkpointed activations make a layer count twice.
        seen = self._seen.setdefault(layer, {})
        seen[self._micro_batch] = counted
        return torch.stack(list(seen.values())).sum(dim=0)


@torch.no_grad()
def routing_metrics(routings: Iterable[PoolRouting], documents: Tensor) -> Tensor:
    """Return the mean over layers of each of `NAMES`, float32 [6], without waiting.

    Entropies are in nats, of the routed probabilities of a token and of their mean over
    a document; experts per document are those that at least one token picks; the
    largest share is that of the busiest expert in the routed picks, times their number
    (1 is even). Documents count alike, however long they are.
    """
    return torch.stack([_of_layer(routing, documents) for routing in routings]).mean(0)


def _of_layer(routing: PoolRouting, documents: Tensor) -> Tensor:
    probabilities = routing.probabilities.flatten(0, 1)
    num_routed = probabilities.shape[-1]
    owners = documents.flatten()
    # As many rows as there may be documents: the host need not wait for their number.
    sums = probabilities.new_zeros(len(owners), num_routed)
    sums.index_add_(0, owners, probabilities)
    lengths = probabilities.new_zeros(len(owners)).index_add_(
        0, owners, torch.ones_like(owners, dtype=probabilities.dtype)
    )
    present = lengths > 0
    count = present.sum()
    means = sums / lengths.clamp(min=1)[:, None]
    routed = routing.indices.flatten(0, 1)
    routed = routed[:, : routed.shape[-1] - (len(routing.counts) - num_routed)]
    used = torch.zeros_like(sums, dtype=torch.bool).index_put_(
        (owners[:, None].expand_as(routed), routed), torch.tensor(True).to(sums.device)
    )
    counts = routing.counts[:num_routed].float()
    return torch.stack(
        [
            routing.load_balancing_loss,
            routing.z_loss,
            _entropy(probabilities).mean(),
            _entropy(means).sum() / count,
            used.sum() / count,
            counts.max() * num_routed / counts.sum(),
        ]
    ).float()


def _entropy(probabilities: Tensor) -> Tensor:
    entropy: Tensor = torch.special.entr(probabilities).sum(dim=-1)
    return entropy
