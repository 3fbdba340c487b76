"""The MoE blocks of a loaded model: found, cut in place, masked for a while."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from emo_prune.architectures import Architecture
from emo_prune.architectures.table import LAYERS
from emo_prune.errors import RoutingError

_LAYER = re.compile(rf"\.{LAYERS}\.(\d+)\.")
# Every name that transformers' modules give the number of experts.
_COUNT_ATTRIBUTES = ("num_experts", "num_local_experts", "n_routed_experts")

Replaced = tuple[nn.Module, str, Any]  # a module's attribute, and what it was


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


def prune_in_place(block: MoEBlock, kept: Sequence[int], top_k: int) -> None:
    """Cut a block to the kept experts (ids as they are now, ascending).

    The block then computes what it would compute with the router logits of the other
    experts at minus infinity, since the softmax runs over what is left.
    """
    _cut((block.block, block.router, block.experts), block.num_experts, kept, top_k)


@contextmanager
def masked(
    model: nn.Module,
    architecture: Architecture,
    kept: Mapping[int, Sequence[int]],
    top_k: int,
) -> Iterator[None]:
    """Make a model compute what its export would, without writing or moving experts.

    Routers see the rows of the kept experts alone, as the export's do: that is every
    other router logit at minus infinity before the softmax (or, where a correction
    bias follows a sigmoid, that bias at minus infinity), groups as the export divides
    them, and `top_k` picks. The picks are handed on under the experts' own numbers.
    At the end the model is what it was, also after an error.

    Args:
        model: a loaded model of that architecture.
        architecture: the table's entry for it.
        kept: for each MoE layer the ids of the experts that stay, ascending; a
            selection's, checked against the model.
        top_k: how many experts a token gets.

    Raises:
        RoutingError: the model has no experts where the table says.
    """
    with ExitStack() as undo:
        for block in moe_blocks(model, architecture):
            ids = kept[block.layer]
            modules = (block.block, block.router)
            undo.callback(_put_back, _cut(modules, block.num_experts, ids, top_k))
            if architecture.is_tied:  # its rows are the experts', which stay
                gate: Any = block.router
                undo.callback(_put_back, [(gate, "among", gate.among)])
                gate.among = tuple(ids)
            handle = block.router.register_forward_hook(_Renumbering(block, ids))
            undo.callback(handle.remove)
        yield


def own_tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the parameters and buffers that a module itself holds, by name."""
    yield from module.named_parameters(recurse=False)
    yield from module.named_buffers(recurse=False)


@torch.no_grad()
def _cut(
    modules: Iterable[nn.Module], total: int, kept: Sequence[int], top_k: int
) -> list[Replaced]:
    """Cut what modules themselves hold for `total` experts to the kept ones.

    Returns what was replaced, to be put back by `_put_back`.
    """
    replaced: list[Replaced] = []
    for module in modules:
        for name, value in _cut_values(module, total, kept, top_k):
            replaced.append((module, name, getattr(module, name)))
            setattr(module, name, value)
    return replaced


def _put_back(replaced: Iterable[Replaced]) -> None:
    """Undo `_cut`."""
    for module, name, value in replaced:
        setattr(module, name, value)


def _cut_values(
    module: nn.Module, total: int, kept: Sequence[int], top_k: int
) -> list[tuple[str, Any]]:
    """Return the attributes that change, with their new values."""
    values: list[tuple[str, Any]] = [
        (name, _rows(tensor, kept))
        for name, tensor in own_tensors(module)
        if tensor.shape[:1] == (total,)
    ]
    for attribute in _COUNT_ATTRIBUTES:
        if getattr(module, attribute, None) == total:
            values.append((attribute, len(kept)))
    if isinstance(getattr(module, "top_k", None), int):
        values.append(("top_k", top_k))
    always_active = getattr(module, "always_active_experts", None)
    if always_active:
        ids = tuple(list(kept).index(expert) for expert in always_active)
        values.append(("always_active_experts", ids))
    return values


def _rows(tensor: torch.Tensor, kept: Sequence[int]) -> torch.Tensor:
    rows: torch.Tensor = tensor[torch.tensor(kept, device=tensor.device)].clone()
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(rows, requires_grad=tensor.requires_grad)
    return rows


class _Renumbering:
    """A hook: from the numbers of a router's rows to those of the block's experts."""

    def __init__(self, block: MoEBlock, ids: Sequence[int]) -> None:
        device = next(block.experts.parameters()).device
        self._ids = torch.tensor(ids, device=device)

    def __call__(
        self, _router: nn.Module, _args: Any, output: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        logits, weights, picks, *rest = output
        return (logits, weights, self._ids[picks], *rest)
