"""A carved feed-forward layer: a gate without parameters, and experts.

After EMoE, arXiv 2310.10908: avg-k scores, and a hard choice of the top k, which are
summed unscaled. So k = N is the dense layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization as init

from emo_prune.models.carved_experts import CarvedExperts, GatedExperts, PlainExperts
from emo_prune.models.emoe_config import check_top_k


class EmoeGate(nn.Module):
    """Scores the experts by their own weights and picks `top_k` of them.

    It has no parameters. `among` are the experts that compete; None: all. A gate that
    picks otherwise is a subclass with another `pick`, or `scores`.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config  # the model's own: a change of it is one of the gate
        self.among: tuple[int, ...] | None = None
        self._top_k: int | None = None

    @property
    def top_k(self) -> int:
        """How many experts a token gets: `num_experts_per_tok` of the config.

        To set it is to overrule the config in this layer; that is not saved.

        Raises:
            BadConfig: there are not so many.
        """
        wanted = self._top_k
        if wanted is None:
            wanted = self.config.num_experts_per_tok
        check_top_k(wanted, self.config.num_experts)
        return int(wanted)

    @top_k.setter
    def top_k(self, number: int) -> None:
        same = number == self.config.num_experts_per_tok
        self._top_k = None if same else number

    def scores(self, hidden_states: Tensor, experts: nn.Module) -> Tensor:
        """Return the experts' scores of tokens, float32 [tokens, experts]."""
        # `forward` itself: hooks on the experts expect the picks.
        scores: Tensor = experts.forward(hidden_states)
        return scores

    def pick(self, scores: Tensor) -> Tensor:
        """Return the ids [tokens, top_k] of each token's experts."""
        return scores.topk(self.top_k, dim=-1).indices

    @torch.no_grad()
    def forward(
        self, hidden_states: Tensor, experts: nn.Module
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return scores [tokens, experts], weights and ids [tokens, top_k].

        The weights are ones. No gradient passes through the choice or the mean keys.
        """
        flat = hidden_states.reshape(-1, hidden_states.shape[-1])
        scores = self.scores(flat, experts)
        if self.among is not None:
            scores = scores[:, list(self.among)]
        ids = self.pick(scores)
        return scores, torch.ones_like(ids, dtype=hidden_states.dtype), ids


class OutputBias(nn.Module):
    """What a carved layer keeps of its last matrix: the bias, added once.

    It has the matrix's name, as on disk: a renaming would be one of all layers. So PEFT
    finds it by that name, and refuses it unless told by `exclude_modules`.
    """

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty_like(bias))

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Add the bias."""
        return hidden_states + self.bias

    def init_weights(self) -> None:
        """Set the bias to zero, if it was not loaded."""
        init.zeros_(self.bias)


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
        self.gate = EmoeGate(config)
        bias = getattr(dense, self._last).bias
        if bias is not None:
            self.add_module(self._last, OutputBias(bias))
        self.dropout = getattr(dense, "dropout", nn.Identity())

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Sum each token's experts: [batch, tokens, hidden] to the same shape."""
        flat = hidden_states.reshape(-1, hidden_states.shape[-1])
        # The experts as they are now: a wrapper may have taken their place.
        _, weights, ids = self.gate(flat, self.experts)
        mixed = self.experts(flat, ids, weights)
        if hasattr(self, self._last):
            mixed = getattr(self, self._last)(mixed)
        dropped: Tensor = self.dropout(mixed.reshape(hidden_states.shape))
        return dropped
