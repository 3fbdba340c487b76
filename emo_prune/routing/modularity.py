"""How modular the layers of a carved model are: do the experts picked do the work?

Measured on the dense model's own hidden states: every expert runs, so that errors of
earlier layers add nothing, and the gate's scores tell which `top_k` it would pick.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from emo_prune.architectures import Architecture
from emo_prune.models.vocabulary import num_embeddings
from emo_prune.routing.batches import Batch, check_vocabulary
from emo_prune.routing.blocks import moe_blocks
from emo_prune.routing.passes import forward


@dataclass(frozen=True, slots=True, kw_only=True)
class Modularity:
    """What one carved layer showed on T tokens.

    load: for each expert, the share of tokens that pick it. picked: the share of a
    token's activation energy (the sum of its squared intermediate activations) that
    the `top_k` picked experts hold, a mean over tokens; best: that of the `top_k`
    experts which hold most of it; even: top_k / experts, what any would hold if the
    energy were spread evenly.
    """

    layer: int
    num_tokens: int
    load: tuple[float, ...]
    picked: float
    best: float
    even: float

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready value."""
        return {
            "layer": self.layer,
            "num_tokens": self.num_tokens,
            "picked_energy": self.picked,
            "best_energy": self.best,
            "even_energy": self.even,
            "load": list(self.load),
        }


def measure_modularity(
    model: Any,
    architecture: Architecture,
    batches: Sequence[Batch],
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Modularity]:
    """Run batches through a carved model, all of its experts, and measure each layer.

    `progress` is told the tokens of each batch.

    Raises:
        CheckpointError: a token id has no embedding.
    """
    check_vocabulary(batches, num_embeddings(model))
    blocks = moe_blocks(model, architecture)
    with contextlib.ExitStack() as stack:
        meters = [
            stack.enter_context(_metering(block.layer, block.router))
            for block in blocks
        ]
        for batch in batches:
            for meter in meters:
                meter.valid = batch.attention_mask.flatten().bool()
            forward(model, batch)
            progress(int(batch.attention_mask.sum()))
    return [meter.modularity for meter in meters]


class _Meter:
    """Adds up what one layer's gate sees. `valid` [tokens]: which are no padding."""

    def __init__(self, layer: int, top_k: int, num_experts: int) -> None:
        self._layer = layer
        self._top_k = top_k
        self._num_tokens = 0
        self._load = torch.zeros(num_experts, dtype=torch.int64)
        self._energy = torch.zeros(2, dtype=torch.float64)
        self.valid = torch.empty(0)

    def see(self, gate: Any, args: Any, output: Any) -> None:
        """Hook: hidden states [tokens, hidden], scores [tokens, experts]."""
        valid = self.valid.to(args[0].device)
        hidden = args[0].reshape(-1, args[0].shape[-1])[valid]
        picked = output[0][valid].topk(self._top_k, dim=-1).indices
        activations: Tensor = gate.experts.activations(hidden)
        energy = activations.double().square().sum(dim=-1)
        whole = energy.sum(dim=-1)
        whole = whole.where(whole > 0, torch.ones_like(whole))
        best = energy.topk(self._top_k, dim=-1).values.sum(dim=-1) / whole
        held = energy.gather(-1, picked).sum(dim=-1) / whole
        self._energy += torch.stack([held.sum(), best.sum()]).cpu()
        self._load += picked.flatten().bincount(minlength=len(self._load)).cpu()
        self._num_tokens += len(hidden)

    @property
    def modularity(self) -> Modularity:
        """What was seen so far."""
        picked, best = (self._energy / self._num_tokens).tolist()
        return Modularity(
            layer=self._layer,
            num_tokens=self._num_tokens,
            load=tuple((self._load.double() / self._num_tokens).tolist()),
            picked=picked,
            best=best,
            even=self._top_k / len(self._load),
        )


@contextlib.contextmanager
def _metering(layer: int, gate: nn.Module) -> Iterator[_Meter]:
    """Let a gate pick every expert, and lend a meter of what it would have picked."""
    module: Any = gate
    top_k, number = module.top_k, module.experts.num_experts
    meter = _Meter(layer, top_k, number)
    handle = gate.register_forward_hook(meter.see)
    module.top_k = number
    try:
        yield meter
    finally:
        module.top_k = top_k
        handle.remove()
