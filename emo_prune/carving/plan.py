"""What a carving will write, before anything is clustered: names, shapes, files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emo_prune.architectures.feed_forward import NEURONS
from emo_prune.architectures.subset import NOWHERE, computed, whole
from emo_prune.carving.dense import DenseLayer, DenseModel
from emo_prune.carving.document import CarvingRecord
from emo_prune.carving.pieces import expert_name, piece_shape
from emo_prune.checkpoint import OutputTensor, Shard
from emo_prune.errors import CarvingError, Parameter, SettingsError
from emo_prune.exports import Kind
from emo_prune.exports.plan import OutputPlan, in_shards, other_files
from emo_prune.options import CarveOptions
from emo_prune.places import CARVING, CONFIG
from emo_prune.units import parse_bytes

CARVED = Kind(record=CARVING, schema=CarvingRecord.schema)

_OURS = (CONFIG, CARVING)
# What readers of a config look for; `dense_config` has everything.
_COPIED = ("dtype", "torch_dtype", "bos_token_id", "eos_token_id", "pad_token_id")

_PART = re.compile(r"(\d{1,6})(?:-(\d{1,6})(?::(\d{1,6}))?)?", re.ASCII)
_LAST = re.compile(r"last:(\d{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class CarvePlan(OutputPlan):
    """What a carving will write.

    `layers` are those carved; `left_out` are files that are not copied.
    """

    model: DenseModel
    options: CarveOptions
    layers: tuple[DenseLayer, ...]
    config: Mapping[str, Any]
    left_out: Sequence[str]

    @property
    def num_bytes(self) -> int:
        """Bytes on disk, but for a few texts."""
        return self.disk_bytes(self.model.checkpoint.source)

    @property
    def top_k(self) -> int:
        """Experts that a token picks."""
        return picked(self.options)

    @property
    def expert_size(self) -> int:
        """Neurons of an expert."""
        return self.model.size // self.options.num_experts

    @property
    def dense_flops(self) -> int:
        """FLOPs per token of one dense FFN: two for each weight."""
        model = self.model
        return 2 * len(model.feed_forward.matrices) * model.hidden_size * model.size

    @property
    def carved_flops(self) -> int:
        """FLOPs per token of a carved one: the picked experts, and the gate.

        The gate's are those of N products with a mean key; "inter" computes the
        activations of every expert, and saves on the output matrix alone.

        Left out: each forward pass averages the keys (or up rows) anew, so that the
        gate follows them in training. Those are neurons x hidden size additions for a
        pass, not for a token: little if it has many tokens, half a matrix's FLOPs if it
        has one.
        """
        model, num_experts = self.model, self.options.num_experts
        matrix = 2 * model.hidden_size * model.size
        experts = matrix * self.top_k // num_experts
        inputs = len(model.feed_forward.matrices) - 1
        if self.options.gate == "inter":
            return inputs * matrix + experts
        return (inputs + 1) * experts + 2 * model.hidden_size * num_experts


def plan_carving(model: DenseModel, options: CarveOptions) -> CarvePlan:
    """Plan a carving; reads and writes nothing.

    Raises:
        CarvingError, SettingsError: the model cannot be carved so.
    """
    _check(options, model)
    numbers = parse_layers(options.layers, model.num_layers)
    layers = tuple(model.layers[number] for number in numbers)
    copied, left_out = other_files(model.checkpoint, _OURS)
    return CarvePlan(
        model=model,
        options=options,
        layers=layers,
        config=_config(model, options, numbers),
        shards=in_shards(
            _tensors(model, options.num_experts, layers),
            parse_bytes(options.max_shard_size),
        ),
        copied=copied,
        left_out=left_out,
    )


def picked(options: CarveOptions) -> int:
    """Return how many experts a token picks: half of them, unless a number is given."""
    return options.num_experts // 2 if options.top_k is None else options.top_k


def check_layers(text: str, where: Parameter = Parameter("layers")) -> None:
    """Raise `SettingsError` for a text that names no layers of any model."""
    if _ranges(text, 10**6) is None:
        raise _no_layers(text, where, "layers as all, last:2, 0-5:2 or 1,3", 2)


def parse_layers(text: str, num_layers: int) -> tuple[int, ...]:
    """Return the layers that a text such as "all", "last:4" or "20-28:2" names.

    Raises:
        SettingsError: it names none, or some that are not there.
    """
    ranges = _ranges(text, num_layers)
    if ranges is None:
        last = num_layers - 1
        expected = f"layers 0 to {last}, as all, last:2, 0-{last}:2 or 1,3"
        raise _no_layers(text, Parameter("layers"), expected, min(2, num_layers))
    return tuple(sorted({layer for some in ranges for layer in some}))


def _ranges(text: str, num_layers: int) -> list[range] | None:
    """Return the layers that a text names, in parts; None if not all are there."""
    plain = text.strip().lower()
    if plain == "all":
        return [range(num_layers)]
    if matched := _LAST.fullmatch(plain):
        number = int(matched[1])
        there = 1 <= number <= num_layers
        return [range(num_layers - number, num_layers)] if there else None
    found = []
    for part in plain.split(","):  # each is "7", "3-9" or "3-9:2"
        if (matched := _PART.fullmatch(part.strip())) is None:
            return None
        first = int(matched[1])
        last = int(matched[2] or first)
        step = int(matched[3] or 1)
        if not first <= last < num_layers or step < 1:
            return None
        found.append(range(first, last + 1, step))
    return found


def _no_layers(text: str, where: Parameter, expected: str, near: int) -> SettingsError:
    return SettingsError(
        "these are not layers of the model",
        where=where,
        got=f"{text!r:.200}",
        expected=expected,
        hint=("try ", Parameter("layers", f"last:{near}")),
    )


def _check(options: CarveOptions, model: DenseModel) -> None:
    number, size = options.num_experts, model.size
    if size < 2:
        raise CarvingError(
            "a layer of one neuron cannot be divided",
            where="config.json, the neurons of a feed-forward layer",
            got=size,
            expected="at least 2",
            hint="carve another model",
        )
    if number < 2 or size % number:
        divisors = [n for n in range(2, size + 1) if size % n == 0]
        near = min(divisors, key=lambda n: abs(n - number))
        raise CarvingError(
            f"{size} neurons cannot be divided into that many experts of one size",
            where=Parameter("num_experts"),
            got=number,
            expected="one of " + ", ".join(map(str, divisors)),
            hint=("try ", Parameter("num_experts", near)),
        )
    if options.gate == "up" and model.feed_forward.up is None:
        raise CarvingError(
            "this model's feed-forward layers have no up matrix",
            where=Parameter("gate"),
            got="up",
            expected="gate or inter",
            hint=("try ", Parameter("gate", "gate"), ", the paper's"),
        )


def _tensors(
    model: DenseModel, num_experts: int, layers: Sequence[DenseLayer]
) -> list[OutputTensor]:
    """Return every tensor of the output; those of experts have no bytes yet."""
    carved = {
        tensor.name: (layer, part)
        for layer in layers
        for part, tensor in layer.parts.items()
        if model.feed_forward.axis(part) is not None
    }
    size = model.size // num_experts
    outputs: list[OutputTensor] = []
    for tensor in model.checkpoint.tensors.values():
        if tensor.name not in carved:
            outputs.append(whole(tensor))
            continue
        layer, part = carved[tensor.name]
        shape = piece_shape(tensor, model.feed_forward.axis(part) or 0, size)
        for expert in range(num_experts):
            name = expert_name(layer, expert, part)
            outputs.append(computed(name, tensor.dtype, shape))
    for layer in layers:
        for expert in range(num_experts):
            outputs.append(
                computed(expert_name(layer, expert, NEURONS), "I32", (size,))
            )
    return outputs


def copied_tensors(shards: Sequence[Shard]) -> list[OutputTensor]:
    """Return the tensors that are byte ranges of the source."""
    return [
        tensor
        for shard in shards
        for tensor in shard.tensors
        if tensor.ranges[0].file != NOWHERE
    ]


def _config(
    model: DenseModel, options: CarveOptions, layers: Sequence[int]
) -> dict[str, Any]:
    dense = model.config
    context = dense.get("max_position_embeddings", dense.get("n_positions"))
    config = {
        "architectures": ["EmoeForCausalLM"],
        "model_type": "emoe",
        **{key: dense[key] for key in _COPIED if key in dense},
        "vocab_size": dense.get("vocab_size"),
        "hidden_size": model.hidden_size,
        "num_hidden_layers": model.num_layers,
        "max_position_embeddings": context,
        "tie_word_embeddings": dense.get(
            "tie_word_embeddings", model.feed_forward.tied
        ),
        "carved_layers": list(layers),
        "num_experts": options.num_experts,
        "num_experts_per_tok": picked(options),
        "moe_intermediate_size": model.size // options.num_experts,
        "gate_source": options.gate,
        "dense_config": dict(dense),
    }
    return {key: value for key, value in config.items() if value is not None}
