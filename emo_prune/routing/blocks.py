"""The MoE blocks of a loaded model: where to look, and how to cut one in place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from emo_prune.architectures import Architecture
from emo_prune.errors import RoutingError

_LAYER = re.compile(r"\.layers\.(\d+)\.")
# Every name that transformers' modules give the number of experts.
_COUNT_ATTRIBUTES = ("num_experts", "num_local_experts", "n_routed_experts")


@dataclass(frozen=True, slots=True, kw_only=True)
class MoEBlock:
    """One MoE layer of a loaded model.

    `experts` is called as (hidden [T, H], top_k_index [T, k], top_k_weights [T, k]);
    `router` returns a tuple that starts with the logits [T, experts].
    """

    layer: int
    block: nn.Module
    router: nn.Module
    experts: nn.Module

    @property
    def num_experts(self) -> int:
        """Experts that the block has now."""
        return int(getattr(self.experts, "num_experts"))  # noqa: B009

    @property
    def num_shared_experts(self) -> int:
        """Experts with a softmax of their own, the last ones."""
        if getattr(self.router, "always_active_experts", ()):
            return 0
        return int(getattr(self.router, "num_shared_experts", 0))


def moe_blocks(model: nn.Module, architecture: Architecture) -> list[MoEBlock]:
    """Find the MoE blocks of a model, by layer.

    Raises:
        RoutingError: the model has none where the table says.
    """
    blocks = []
    for name, experts in model.named_modules():
        layer = _LAYER.search(f".{name}.")
        if not name.endswith(".experts") or layer is None:
            continue
        block = model.get_submodule(name.removesuffix(".experts"))
        blocks.append(
            MoEBlock(
                layer=int(layer[1]),
                block=block,
                router=block.get_submodule(architecture.router),
                experts=experts,
            )
        )
    if not blocks:
        raise RoutingError(
            "the loaded model has no experts to observe",
            where=type(model).__name__,
            expected="modules called layers.N.*.experts",
            hint="check model_type in config.json",
        )
    return sorted(blocks, key=lambda block: block.layer)


@torch.no_grad()
def prune_in_place(block: MoEBlock, kept: Sequence[int], top_k: int) -> None:
    """Cut a block to the kept experts (ids as they are now, ascending).

    The block then computes what it would compute with the router logits of the other
    experts at minus infinity, since the softmax runs over what is left.
    """
    total = block.num_experts
    for module in (block.block, block.router, block.experts):
        tensors = (
            *module.named_parameters(recurse=False),
            *module.named_buffers(recurse=False),
        )
        for name, tensor in tensors:
            if tensor.shape[:1] == (total,):
                _replace(module, name, tensor, kept)
        for attribute in _COUNT_ATTRIBUTES:
            if getattr(module, attribute, None) == total:
                setattr(module, attribute, len(kept))
        if isinstance(getattr(module, "top_k", None), int):
            setattr(module, "top_k", top_k)  # noqa: B010
    _renumber_always_active(block.router, kept)


def _replace(
    module: nn.Module, name: str, tensor: torch.Tensor, kept: Sequence[int]
) -> None:
    rows: Any = tensor[torch.tensor(kept, device=tensor.device)].clone()
    if isinstance(tensor, nn.Parameter):
        rows = nn.Parameter(rows, requires_grad=tensor.requires_grad)
    setattr(module, name, rows)


def _renumber_always_active(router: nn.Module, kept: Sequence[int]) -> None:
    ids = getattr(router, "always_active_experts", None)
    if ids:
        renumbered = tuple(list(kept).index(expert) for expert in ids)
        setattr(router, "always_active_experts", renumbered)  # noqa: B010
