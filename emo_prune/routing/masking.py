"""Let a loaded model route among some of its experts only, for a while."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from emo_prune.architectures import Architecture
from emo_prune.routing.blocks import MoEBlock, cut, moe_blocks, put_back


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
            undo.callback(put_back, cut(modules, block.num_experts, ids, top_k))
            if architecture.is_tied:  # its rows are the experts', which stay
                gate: Any = block.router
                undo.callback(put_back, [(gate, "among", gate.among)])
                gate.among = tuple(ids)
            handle = block.router.register_forward_hook(_Renumbering(block, ids))
            undo.callback(handle.remove)
        yield


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
