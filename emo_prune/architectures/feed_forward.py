"""The feed-forward layers of dense models that can be carved into experts, as data.

Names are those on disk. Source of each entry: `transformers/models/<model_type>/`
(5.23).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emo_prune.architectures.announced import positive

# Masks and frequencies, which early releases of transformers stored as well.
_BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward:
    """How one model type lays out a dense layer's FFN.

    `stack` is the name of the list of layers, `block` of the FFN in a layer. Neurons
    are rows of `keys` and of `up` (where there is one), and columns of `values`;
    where weights are `input_first` (GPT-2's Conv1D) it is the other way round.
    `embedding` is the name of the tokens' table, beside the stack. `tied` is whether
    the output embedding is the input's where the config is silent.
    """

    model_type: str
    stack: str = "layers"
    block: str = "mlp"
    keys: str = "gate_proj"
    up: str | None = "up_proj"
    values: str = "down_proj"
    embedding: str = "embed_tokens"
    input_first: bool = False
    tied: bool = False

    @property
    def matrices(self) -> tuple[str, ...]:
        """The matrices, those with the neurons' inputs first."""
        inputs = (self.keys,) if self.up is None else (self.keys, self.up)
        return (*inputs, self.values)

    def axis(self, part: str) -> int | None:
        """Return the axis of the neurons in a part such as "up_proj.bias".

        None for the bias of the values, which belongs to no neuron.
        """
        matrix, _, kind = part.rpartition(".")
        if kind == "bias":
            return None if matrix == self.values else 0
        return int((matrix == self.values) != self.input_first)


FEED_FORWARDS: Mapping[str, FeedForward] = {
    entry.model_type: entry
    for entry in (
        FeedForward(model_type="llama"),
        FeedForward(model_type="mistral"),
        FeedForward(model_type="qwen2"),
        FeedForward(model_type="qwen3"),
        FeedForward(model_type="olmo2"),
        FeedForward(
            model_type="gpt2",
            stack="h",
            keys="c_fc",
            up=None,
            values="c_proj",
            embedding="wte",
            input_first=True,
            tied=True,
        ),
    )
}


def feed_forward_size(config: Mapping[str, Any]) -> int:
    """Return the neurons of a layer; GPT-2 without a number has four times its width.

    Raises:
        LayoutMismatch: there is no such number.
    """
    if config.get("model_type") != "gpt2":
        return positive(config, ("intermediate_size",))
    if config.get("n_inner") is not None:
        return positive(config, ("n_inner",))
    return 4 * positive(config, ("n_embd", "hidden_size"))


def is_buffer(name: str) -> bool:
    """Tell whether a stored tensor is a constant of the code, and no parameter."""
    return name.endswith(_BUFFERS)
