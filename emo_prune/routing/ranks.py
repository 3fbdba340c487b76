"""Several processes that share the calibration, as `torchrun` starts them.

Each takes every n-th batch; counts are added up in the order of the ranks, so that all
of them choose alike, and as one process would. Nothing here imports torch until there
is more than one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from emo_prune.routing.counts import COUNTS, SUMS, LayerRouting

if TYPE_CHECKING:
    from emo_prune.routing.batches import Batch

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process's place among those that share the work; alone it is 0 of 1."""

    rank: int = 0
    size: int = 1

    @property
    def device(self) -> str | None:
        """The GPU of this process among those of its machine; None without any."""
        import torch

        if self.size == 1 or not torch.cuda.is_available():
            return None
        local = int(os.environ.get("LOCAL_RANK", self.rank))
        return f"cuda:{local % torch.cuda.device_count()}"

    def share(self, batches: Sequence[Batch]) -> list[Batch]:
        """Return the batches that this process observes."""
        return list(batches[self.rank :: self.size])

    def combine(self, routing: LayerRouting) -> LayerRouting:
        """Add up what all processes have counted of a layer."""
        if self.size == 1:
            return routing
        import torch.distributed

        gathered: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(gathered, routing)
        if any(part.layer != routing.layer for part in gathered):
            raise RuntimeError("the processes are not at the same layer")
        sums = {
            name: np.sum([getattr(part, name) for part in gathered], axis=0)
            for name in (*COUNTS, *SUMS)
            if getattr(routing, name) is not None
        }
        return replace(routing, **sums)

    def agree(self, wish: bool) -> bool:
        """Return whether any process wishes so: all of them then do alike."""
        if self.size == 1:
            return wish
        import torch.distributed

        wishes: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(wishes, wish)
        return any(wishes)


def current_ranks() -> Ranks:
    """Return this process's place, from the variables that `torchrun` sets."""
    if not all(os.environ.get(name) for name in _VARIABLES):
        return Ranks()
    return Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Join the other processes for the time of the block."""
    ranks = current_ranks()
    if ranks.size == 1:
        yield ranks
        return
    import torch.distributed

    torch.distributed.init_process_group("gloo")  # counts are on the CPU
    try:
        yield ranks
    finally:
        torch.distributed.destroy_process_group()
