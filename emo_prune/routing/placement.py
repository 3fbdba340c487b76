"""Where examples are run: which processes share them, on which device, as what dtype.

Of several processes, as `torchrun` starts them, each takes every n-th batch; counts are
added up in the order of the ranks, so that all of them choose alike, and as one process
would. Nothing here imports torch until it must.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from emo_prune.architectures import MoEModel
from emo_prune.checkpoint import dtypes
from emo_prune.errors import Command, Parameter, SettingsError, Text
from emo_prune.models.placement import check_placement, free_memory
from emo_prune.options import ChoiceOptions, PlacementOptions
from emo_prune.options.values import DTYPES
from emo_prune.routing.counts import COUNTS, SUMS, LayerRouting
from emo_prune.units import parse_bytes

if TYPE_CHECKING:
    import torch

    from emo_prune.routing.calibration import Batch

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_STORED = ("F32", "BF16", "F16")  # what a layer is computed in, if it is stored so


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


def refuse_ranks(ranks: Ranks, what: Text) -> None:
    """Raise `SettingsError` for what a single process alone can do."""
    if ranks.size > 1:
        raise SettingsError(
            "this works in one process alone",
            where=what,
            got=f"{ranks.size} processes",
            expected="1",
            hint="run it without torchrun",
        )


def must_stream(model: MoEModel, options: PlacementOptions, ranks: Ranks) -> bool:
    """Tell whether a model does not fit into free memory, but can be run by layers."""
    if model.config.get("quantization_config") or options.device == "auto":
        return False
    device = stream_device(options.device, options.dtype, ranks)
    needed = _bytes_in_memory(model, options)
    if device.type == "cpu":
        too_large = needed * ranks.size > free_memory()
    else:
        import torch

        too_large = needed > torch.cuda.mem_get_info(device)[0]
    return ranks.agree(too_large)


def refuse_quantised(model: MoEModel) -> None:
    """Raise `SettingsError` for a quantised model, which is loaded whole."""
    if model.config.get("quantization_config"):
        raise SettingsError(
            "a quantised model cannot be run layer by layer",
            where="config.json, quantization_config",
            expected="weights in float32, bfloat16 or float16",
            hint=(
                *("use ", Command("select", {"stream": False}), " and export, or "),
                "the unquantised checkpoint",
            ),
        )


def _bytes_in_memory(model: MoEModel, options: PlacementOptions) -> int:
    """Return the memory a model takes while it is loaded whole."""
    size = model.checkpoint.num_bytes * 13 // 10  # some experts are there twice
    stored = {tensor.dtype for tensor in model.checkpoint.tensors.values()}
    return 2 * size if options.dtype == "float32" and "F32" not in stored else size


def resolved_dtype(model: MoEModel, dtype: str) -> str:
    """Return the dtype to compute in: as asked, as config.json says, or as stored.

    A config that does not say means the floating-point type of most weights. A
    quantised model keeps "auto", for transformers to decide.
    """
    if dtype != "auto" or model.config.get("quantization_config"):
        return dtype
    said = model.config.get("dtype") or model.config.get("torch_dtype")
    if isinstance(said, str) and said.removeprefix("torch.") in DTYPES:
        return said.removeprefix("torch.")
    sizes = Counter[str]()
    for tensor in model.checkpoint.tensors.values():
        if tensor.dtype in _STORED:
            sizes[str(dtypes.DTYPES[tensor.dtype].torch)] += tensor.num_bytes
    return sizes.most_common(1)[0][0] if sizes else "float32"


def stream_device(device: str | None, dtype: str, ranks: Ranks) -> torch.device:
    """Return the one device that layers are run on; "auto" is one as well.

    Raises:
        SettingsError: this machine has no such device, or there is no such dtype.
    """
    import torch

    check_placement(device, dtype)
    if device not in (None, "auto"):
        return torch.device(str(device))
    found = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(ranks.device or found)


def stream_memory(options: ChoiceOptions) -> int:
    """Return the bytes for hidden states and the layer read ahead."""
    if options.max_memory is None:
        return free_memory() // 2
    return parse_bytes(options.max_memory, Parameter("max_memory"))
