"""The feed-forward layers of dense models, as data, and the experts cut out of them.

Names are those on disk. Source of each entry: `transformers/models/<model_type>/`
(5.23). Carved into experts (EMoE) they have the layout that `emo-prune carve` writes;
the method is arXiv 2310.10908.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emo_prune.architectures.config import positive, quantization_key
from emo_prune.errors import Command, LayoutMismatch
from emo_prune.places import CONFIG

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


_ALL = FEED_FORWARDS.values()
GATED = tuple(one.model_type for one in _ALL if one.up)  # gate, up and down matrices
PLAIN = tuple(one.model_type for one in _ALL if not one.up)  # two, input first
NEURONS = "neurons"  # the one part of an expert that is no weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Carving:
    """How a dense model was carved.

    `neurons_per_expert` of a layer's FFN are one expert; the rows of `gate_source`
    ("gate", "up", or "inter": activations) averaged over them are its gate.
    """

    dense_type: str
    layers: tuple[int, ...]
    neurons_per_expert: int
    gate_source: str


def carving(config: Mapping[str, Any], found: Sequence[int]) -> Carving:
    """Return what a config says of the carving; `found` are the layers with experts.

    Raises:
        LayoutMismatch: it does not say it, or the checkpoint is another one.
    """
    dense = config.get("dense_config")
    dense = dense if isinstance(dense, dict) else {}
    said = Carving(
        dense_type=str(dense.get("model_type")),
        layers=tuple(found),
        neurons_per_expert=config.get("moe_intermediate_size") or 0,
        gate_source=str(config.get("gate_source", "gate")),
    )
    quantised = quantization_key(config) or quantization_key(dense)
    size = said.neurons_per_expert
    check_layers(config, found)
    _check("dense_config, model_type", said.dense_type, *GATED, *PLAIN)
    _check("gate_source", said.gate_source, "gate", "up", "inter")
    if type(size) is not int or size < 1:
        raise _mismatch("moe_intermediate_size", size, "the neurons of an expert")
    if quantised:
        raise _mismatch(quantised, "a quantised model", "floating-point weights")
    return said


def check_layers(config: Mapping[str, Any], found: Sequence[int]) -> None:
    """Raise `LayoutMismatch` unless the layers with experts are those of a config."""
    _check("carved_layers", config.get("carved_layers"), list(found))


def is_parameter(name: str) -> bool:
    """Tell whether a stored tensor is parameters: neurons' numbers, say, are none."""
    return not name.endswith(f".{NEURONS}") and not is_buffer(name)


def _check(key: str, got: object, *allowed: object) -> None:
    if got not in allowed:
        raise _mismatch(key, got, " or ".join(dict.fromkeys(map(str, allowed))))


def _mismatch(key: str, got: object, expected: str) -> LayoutMismatch:
    return LayoutMismatch(
        "the config is not that of a carved model",
        where=f"{CONFIG}, {key}",
        got=repr(got),
        expected=expected,
        hint=("carve the unquantised dense checkpoint again with ", Command("carve")),
    )
