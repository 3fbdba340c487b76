"""A carved feed-forward layer: experts, and a gate without parameters.

After EMoE, arXiv 2310.10908: avg-k scores, and a hard choice of the top k, which are
summed unscaled. So k = N is the dense layer.

In memory the experts are fused, as transformers' kernels want them; on disk each has
its own tensors, and transformers converts both ways. The output bias is not the
experts' own: it is added once, whichever of them are picked. The experts' own weights
score them, too. Their `forward` does both, since what a wrapper makes of the weights
(PEFT's adapters on parameters, say) is in force inside of it only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import initialization

from emo_prune.models.emoe_config import check_top_k
from emo_prune.models.transformers_private import RunByKernels, experts_kernel


class CarvedExperts(RunByKernels, nn.Module):
    """What carved experts share: which neurons each has, and the call to a kernel.

    `neurons` [experts, size] are the numbers that the neurons have in the dense layer.
    """

    neurons: Tensor
    is_transposed = False

    def __init__(self, config: Any, act_fn: nn.Module) -> None:
        super().__init__()
        self.config = config  # the model's own: it names the kernel to use
        self.act_fn = act_fn
        self.num_experts: int = config.num_experts
        self.size: int = config.moe_intermediate_size
        self.hidden_size: int = config.hidden_size
        self.register_buffer("neurons", self._in_order())

    def forward(
        self,
        hidden_states: Tensor,
        top_k_index: Tensor | None = None,
        top_k_weights: Tensor | None = None,
    ) -> Tensor:
        """Sum each token's experts, or score them all if none are picked.

        Of tokens [tokens, hidden], with `top_k_index` and `top_k_weights` [tokens, k],
        the sums have the same shape; without, the scores are [tokens, experts].
        """
        if top_k_index is None or top_k_weights is None:
            return self.scores(hidden_states)
        return self.mixed(hidden_states, top_k_index, top_k_weights)

    def scores(self, hidden_states: Tensor) -> Tensor:
        """Return avg-k scores, float32 [tokens, experts], of tokens [tokens, hidden].

        A score is the token times the expert's mean key, biases left out; for "inter"
        it is the mean of the expert's activations. The means are computed anew at each
        call, so that they follow training.
        """
        source = self.config.gate_source
        if source == "inter":
            return self.activations(hidden_states).mean(-1, dtype=torch.float32)
        with torch.autocast(hidden_states.device.type, enabled=False):
            return functional.linear(hidden_states.float(), self.mean_keys(source))

    def mixed(
        self, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor
    ) -> Tensor:
        """Sum each token's experts by the kernel of `experts_implementation`.

        All kernels but "eager" compute the picked experts alone.
        """
        kernel = experts_kernel(
            self.config, type(self).masked, can_be_grouped=self._can_be_grouped
        )
        return kernel(self, hidden_states, top_k_index, top_k_weights)

    def masked(
        self, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor
    ) -> Tensor:
        """Compute every expert, and let the picked ones through: "eager"."""
        spread = hidden_states.new_zeros(len(hidden_states), self.num_experts)
        spread = spread.scatter(1, top_k_index, top_k_weights.to(spread.dtype))
        activations = self.activations(hidden_states) * spread[..., None]
        mixed: Tensor = activations.flatten(1) @ self.values()
        return mixed

    def mean_keys(self, source: str) -> Tensor:
        """Return the mean key of each expert, float32 [experts, hidden]."""
        raise NotImplementedError

    def activations(self, hidden_states: Tensor) -> Tensor:
        """Return what the neurons make of tokens: [tokens, experts, size]."""
        raise NotImplementedError

    def values(self) -> Tensor:
        """Return the output matrix [experts * size, hidden]."""
        raise NotImplementedError

    @property
    def down_proj_bias(self) -> Tensor:
        """Zeros [experts, hidden], for kernels that add one bias per expert."""
        zero = self._weights.new_zeros(())
        return zero.expand(self.num_experts, self.hidden_size)

    @torch.no_grad()
    def init_weights(self, std: float) -> None:
        """Fill what was not loaded: random weights, no biases, neurons in order."""
        for parameter in self.parameters(recurse=False):
            if parameter.dim() > 2:
                initialization.normal_(parameter, mean=0.0, std=std)
            else:
                initialization.zeros_(parameter)
        initialization.copy_(self.neurons, self._in_order())

    def _by_expert(self, columns: Tensor) -> Tensor:
        return columns.view(len(columns), self.num_experts, -1)

    @property
    def _weights(self) -> Tensor:
        return next(self.parameters())

    @property
    def _can_be_grouped(self) -> bool:
        """Whether rows begin at multiples of 16 bytes, in a type that torch groups."""
        itemsize = self._weights.itemsize
        aligned = all(n * itemsize % 16 == 0 for n in (self.size, self.hidden_size))
        return aligned and self._weights.dtype != torch.float64

    def _in_order(self) -> Tensor:
        neurons = torch.arange(self.num_experts * self.size, dtype=torch.int32)
        return neurons.view(self.num_experts, self.size)

    def _add(self, name: str, *shape: int) -> None:
        """Add a parameter [experts, *shape], to be filled by loading or at random."""
        values = torch.empty(self.num_experts, *shape)
        self.register_parameter(name, nn.Parameter(values))


class GatedExperts(CarvedExperts):
    """Experts of a layer with gate, up and down matrices (Llama and its kin).

    `gate_up_proj` [experts, 2 * size, hidden], its bias if the layer had one, and
    `down_proj` [experts, hidden, size].
    """

    gate_up_proj: Tensor
    gate_up_proj_bias: Tensor
    down_proj: Tensor
    has_gate = True

    def __init__(self, config: Any, act_fn: nn.Module, *, has_bias: bool) -> None:
        super().__init__(config, act_fn)
        self.has_bias = has_bias
        self._add("gate_up_proj", 2 * self.size, self.hidden_size)
        if has_bias:
            self._add("gate_up_proj_bias", 2 * self.size)
        self._add("down_proj", self.hidden_size, self.size)

    def mean_keys(self, source: str) -> Tensor:
        """Average the rows of the gate or up matrix."""
        gate, up = self.gate_up_proj.chunk(2, dim=1)
        return (up if source == "up" else gate).mean(dim=1, dtype=torch.float32)

    def activations(self, hidden_states: Tensor) -> Tensor:
        """Return act(gate) * up."""
        bias = self.gate_up_proj_bias.flatten() if self.has_bias else None
        both = functional.linear(hidden_states, self.gate_up_proj.flatten(0, 1), bias)
        return self._apply_gate(self._by_expert(both))

    def values(self) -> Tensor:
        """Return the columns of the down matrices as rows."""
        return self.down_proj.transpose(1, 2).flatten(0, 1)

    def _apply_gate(self, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, dim=-1)
        gated: Tensor = self.act_fn(gate) * up
        return gated


class PlainExperts(CarvedExperts):
    """Experts of a layer with two matrices, stored input first (GPT-2).

    `c_fc` [experts, hidden, size], `c_fc_bias` and `c_proj` [experts, size, hidden].
    """

    c_fc: Tensor
    c_fc_bias: Tensor
    c_proj: Tensor
    has_gate = False
    has_bias = True
    is_transposed = True

    def __init__(self, config: Any, act_fn: nn.Module) -> None:
        super().__init__(config, act_fn)
        self._add("c_fc", self.hidden_size, self.size)
        self._add("c_fc_bias", self.size)
        self._add("c_proj", self.size, self.hidden_size)

    # the names that transformers' kernels use
    up_proj = property(lambda self: self.c_fc)
    up_proj_bias = property(lambda self: self.c_fc_bias)
    down_proj = property(lambda self: self.c_proj)

    def mean_keys(self, source: str) -> Tensor:
        """Average the columns of the first matrix."""
        del source  # there is only one
        return self.c_fc.mean(dim=2, dtype=torch.float32)

    def activations(self, hidden_states: Tensor) -> Tensor:
        """Return the activations behind the first matrix."""
        keys = self.c_fc.transpose(1, 2).flatten(0, 1)
        linear = functional.linear(hidden_states, keys, self.c_fc_bias.flatten())
        activated: Tensor = self.act_fn(self._by_expert(linear))
        return activated

    def values(self) -> Tensor:
        """Return the second matrix."""
        return self.c_proj.flatten(0, 1)


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
        initialization.zeros_(self.bias)


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
