"""Over which tokens experts are balanced: all ranks, a whole step, or one's own."""

from __future__ import annotations

from typing import Literal

import torch
import torch.distributed
from torch import Tensor


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
