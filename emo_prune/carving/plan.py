"""What a carving will write, before anything is clustered: names, shapes, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emo_prune.architectures.feed_forward import NEURONS
from emo_prune.architectures.subset import NOWHERE, computed, whole
from emo_prune.carving.cut import piece_shape
from emo_prune.carving.dense import DenseLayer, DenseModel
from emo_prune.carving.record import CARVING
from emo_prune.carving.settings import CarveSettings, check_settings
from emo_prune.checkpoint import OutputTensor, Shard
from emo_prune.exports.plan import (
    DEFAULT_SHARD_BYTES,
    OutputPlan,
    in_shards,
    other_files,
)

_OURS = ("config.json", CARVING)
# What readers of a config look for; `dense_config` has everything.
_COPIED = ("dtype", "torch_dtype", "bos_token_id", "eos_token_id", "pad_token_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class CarvePlan(OutputPlan):
    """What a carving will write.

    `layers` are those carved; `left_out` are files that are not copied.
    """

    model: DenseModel
    settings: CarveSettings
    layers: tuple[DenseLayer, ...]
    config: Mapping[str, Any]
    left_out: Sequence[str]

    @property
    def num_bytes(self) -> int:
        """Bytes on disk, but for a few texts."""
        return self.disk_bytes(self.model.checkpoint.source)

    @property
    def expert_size(self) -> int:
        """Neurons of an expert."""
        return self.model.size // self.settings.num_experts


def plan_carving(
    model: DenseModel,
    settings: CarveSettings,
    *,
    max_shard_bytes: int = DEFAULT_SHARD_BYTES,
) -> CarvePlan:
    """Plan a carving; reads and writes nothing.

    Raises:
        CarvingError, SettingsError: the model cannot be carved so.
    """
    layers = tuple(model.layers[i] for i in check_settings(settings, model))
    copied, left_out = other_files(model.checkpoint, _OURS)
    return CarvePlan(
        model=model,
        settings=settings,
        layers=layers,
        config=_config(model, settings, [layer.layer for layer in layers]),
        shards=in_shards(_tensors(model, settings, layers), max_shard_bytes),
        copied=copied,
        left_out=left_out,
    )


def expert_name(layer: DenseLayer, expert: int, part: str) -> str:
    """Return the name of an expert's tensor on disk."""
    return f"{layer.stem}experts.{expert}.{part}"


def _tensors(
    model: DenseModel, settings: CarveSettings, layers: Sequence[DenseLayer]
) -> list[OutputTensor]:
    """Return every tensor of the output; those of experts have no bytes yet."""
    carved = {
        tensor.name: (layer, part)
        for layer in layers
        for part, tensor in layer.parts.items()
        if model.feed_forward.axis(part) is not None
    }
    size = model.size // settings.num_experts
    outputs: list[OutputTensor] = []
    for tensor in model.checkpoint.tensors.values():
        if tensor.name not in carved:
            outputs.append(whole(tensor))
            continue
        layer, part = carved[tensor.name]
        shape = piece_shape(tensor, model.feed_forward.axis(part) or 0, size)
        for expert in range(settings.num_experts):
            name = expert_name(layer, expert, part)
            outputs.append(computed(name, tensor.dtype, shape))
    for layer in layers:
        for expert in range(settings.num_experts):
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
    model: DenseModel, settings: CarveSettings, layers: list[int]
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
        "carved_layers": layers,
        "num_experts": settings.num_experts,
        "num_experts_per_tok": settings.top_k,
        "moe_intermediate_size": model.size // settings.num_experts,
        "gate_source": settings.gate_source,
        "dense_config": dict(dense),
    }
    return {key: value for key, value in config.items() if value is not None}
