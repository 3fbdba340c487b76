"""How modular the layers of a carved model are: do the experts picked do the work?

Measured on the dense model's own hidden states: every expert runs, so that errors of
earlier layers add nothing; what the gate picks is measured, but not used.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from emo_prune.architectures import Architecture
from emo_prune.errors import Parameter, RoutingError
from emo_prune.facts import Modularity
from emo_prune.routing.blocks import MoEBlock, moe_blocks
from emo_prune.routing.calibration import Batch, check_vocabulary
from emo_prune.routing.observer import forward, num_embeddings


def measure_modularity(
    model: Any,
    architecture: Architecture,
    batches: Sequence[Batch],
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Modularity]:
    """Run batches through a carved model, all of its experts, and measure each layer.

    The model is left with its experts computed in one product ("eager").
    `progress` is told the tokens of each batch.

    Raises:
        RoutingError: a layer's activations are not finite.
        CheckpointError: a token id has no embedding.
    """
    check_vocabulary(batches, num_embeddings(model))
    # Every expert runs: one product does it without a copy of each token for each.
    model.set_experts_implementation("eager")
    blocks = moe_blocks(model, architecture)
    with contextlib.ExitStack() as stack:
        meters = [stack.enter_context(_metering(block)) for block in blocks]
        for batch in batches:
            for meter in meters:
                meter.valid = batch.attention_mask.flatten().bool()
            forward(model, batch)
            progress(batch.num_tokens)
    found = [meter.modularity for meter in meters]
    _refuse_nonsense(found)
    return found


def _refuse_nonsense(layers: Sequence[Modularity]) -> None:
    for layer in layers:
        if not math.isfinite(
            layer.picked_energy + layer.best_energy + layer.fixed_energy
        ):
            raise RoutingError(
                "the activations of a layer are not finite numbers",
                where=f"layer {layer.layer}",
                got="NaN or infinity",
                hint=("check the checkpoint, or try ", Parameter("dtype", "float32")),
            )


class _Meter:
    """Adds up what one layer's gate sees. `valid` [tokens]: which are no padding."""

    def __init__(self, layer: int, top_k: int, num_experts: int) -> None:
        self._layer = layer
        self._top_k = top_k
        self._num_tokens = 0
        self._load = torch.zeros(num_experts, dtype=torch.int64)
        self._held = torch.zeros(2, dtype=torch.float64)  # by the picked, the best
        self._shares = torch.zeros(num_experts, dtype=torch.float64)
        self.valid = torch.empty(0)

    def see(
        self, _gate: Any, args: Any, output: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """Hook: measure what the gate picks, and hand on every expert instead."""
        scores, weights, picks = output
        experts = args[1]
        valid = self.valid.to(scores.device)
        hidden = args[0].reshape(-1, args[0].shape[-1])[valid]
        self._add(experts, hidden, picks[valid])
        everyone = torch.arange(scores.shape[-1], device=scores.device)
        return scores, weights.new_ones(scores.shape), everyone.expand_as(scores)

    def _add(self, experts: Any, hidden: Tensor, picked: Tensor) -> None:
        """Add tokens [tokens, hidden], and the ids [tokens, top_k] of their experts."""
        activations: Tensor = experts.activations(hidden)
        energy = activations.double().square().sum(dim=-1)
        whole = energy.sum(dim=-1, keepdim=True)
        shares = energy / whole.where(whole > 0, torch.ones_like(whole))
        held = shares.gather(-1, picked).sum()
        best = shares.topk(self._top_k, dim=-1).values.sum()
        self._held += torch.stack([held, best]).cpu()
        self._shares += shares.sum(dim=0).cpu()
        self._load += picked.flatten().bincount(minlength=len(self._load)).cpu()
        self._num_tokens += len(hidden)

    @property
    def modularity(self) -> Modularity:
        """What was seen so far."""
        picked, best = (self._held / self._num_tokens).tolist()
        fixed = self._shares.topk(self._top_k).values.sum() / self._num_tokens
        return Modularity(
            layer=self._layer,
            num_tokens=self._num_tokens,
            load=tuple((self._load.double() / self._num_tokens).tolist()),
            picked_energy=picked,
            best_energy=best,
            fixed_energy=float(fixed),
            even_energy=self._top_k / len(self._load),
        )


@contextlib.contextmanager
def _metering(block: MoEBlock) -> Iterator[_Meter]:
    """Measure what a block's gate picks, while every expert runs."""
    gate: Any = block.router
    meter = _Meter(block.layer, gate.top_k, block.num_experts)
    handle = gate.register_forward_hook(meter.see)
    try:
        yield meter
    finally:
        handle.remove()
