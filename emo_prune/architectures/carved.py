"""EMoE: dense FFNs carved into experts, and what a config must say of that.

Source: the layout that `emo-prune carve` writes; the method is arXiv 2310.10908.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emo_prune.architectures.feed_forward import FEED_FORWARDS, is_buffer
from emo_prune.architectures.quantization import quantization_key
from emo_prune.errors import LayoutMismatch

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
        where=f"config.json, {key}",
        got=repr(got),
        expected=expected,
        hint="carve the unquantised dense checkpoint again with emo-prune carve",
    )
