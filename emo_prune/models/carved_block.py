"""A carved feed-forward layer: a gate without parameters, and experts.

After EMoE, arXiv 2310.10908: avg-k scores, and a hard choice of the top k, which are
summed unscaled. So k = N is the dense layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from emo_prune.models.carved_experts import CarvedExperts, GatedExperts, PlainExperts


class EmoeGate(nn.Module):
    """Scores the experts by their own weights and picks `top_k` of them.

    It has no parameters: the mean keys are computed anew at each call, so that they
    follow training. `among` are the experts that compete; None: all. A gate that picks
    otherwise is a subclass with another `pick`, or `scores`.
    """

    def __init__(self, experts: CarvedExperts, *, top_k: int, source: str) -> None:
        super().__init__()
        self._experts = (experts,)  # in a tuple: they are the block's submodule
        self.top_k = top_k
        self.source = source
        self.among: tuple[int, ...] | None = None

    @property
    def experts(self) -> CarvedExperts:
        """The experts whose keys are the gate's."""
        return self._experts[0]

    def scores(self, hidden_states: Tensor) -> Tensor:
        """Return avg-k scores, float32 [tokens, experts], of tokens [tokens, hidden].

        A score is the token times the expert's mean key, biases left out; for "inter"
        it is the mean of the expert's activations.
        """
        if self.source == "inter":
            return self.experts.activations(hidden_states).mean(-1, dtype=torch.float32)
        return functional.linear(
            hidden_states.float(), self.experts.mean_keys(self.source)
        )

    def pick(self, scores: Tensor) -> Tensor:
        """Return the ids [tokens, top_k] of each token's experts."""
        return scores.topk(self.top_k, dim=-1).indices

    @torch.no_grad()
    def forward(self, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return scores [tokens, experts], weights and ids [tokens, top_k].

        The weights are ones. No gradient passes through the choice or the mean keys.
        """
        scores = self.scores(hidden_states.reshape(-1, hidden_states.shape[-1]))
        if self.among is not None:
            scores = scores[:, list(self.among)]
        ids = self.pick(scores)
        return scores, torch.ones_like(ids, dtype=hidden_states.dtype), ids


class OutputBias(nn.Module):
    """What a carved layer keeps of its last matrix: the bias, added once."""

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros_like(bias))

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Add the bias."""
        return hidden_states + self.bias


class EmoeBlock(nn.Module):
    """A gate and experts in the place, and under the names, of a dense layer's FFN."""

    def __init__(self, config: Any, dense: Any) -> None:
        super().__init__()
        self.experts: CarvedExperts
        if hasattr(dense, "gate_proj"):
            self._last = "down_proj"
            self.experts = GatedExperts(
                config, dense.act_fn, has_bias=dense.gate_proj.bias is not None
            )
        else:
            self._last = "c_proj"
            self.experts = PlainExperts(config, dense.act)
        self.gate = EmoeGate(
            self.experts, top_k=config.num_experts_per_tok, source=config.gate_source
        )
        bias = getattr(dense, self._last).bias
        self.add_module(self._last, nn.Identity() if bias is None else OutputBias(bias))
        self.dropout = getattr(dense, "dropout", nn.Identity())

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Sum each token's experts: [batch, tokens, hidden] to the same shape."""
        flat = hidden_states.reshape(-1, hidden_states.shape[-1])
        _, weights, ids = self.gate(flat)
        mixed = getattr(self, self._last)(self.experts(flat, ids, weights))
        dropped: Tensor = self.dropout(mixed.reshape(hidden_states.shape))
        return dropped
