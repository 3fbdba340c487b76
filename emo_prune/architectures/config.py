"""The config of a pruned model: the source's own, edited key by key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from emo_prune.architectures.layout import MoELayer, MoEModel
from emo_prune.architectures.quantization import prune_quantization
from emo_prune.architectures.table import EXPERT_COUNT_KEYS, TOP_K_KEYS


def prune_config(
    model: MoEModel, kept: Mapping[int, Sequence[int]], top_k: int
) -> dict[str, Any]:
    """Return the config for a model that keeps `kept[layer]` (original ids, ascending).

    Every alias of the expert count that is present is edited and none is invented, so
    that whatever read the source reads the result. Keys keep their order.

    Raises:
        LayoutMismatch: the quantisation settings name experts in a way that cannot
            be renumbered.
    """
    config: dict[str, Any] = json.loads(json.dumps(model.config))  # a deep copy
    counts = {layer.layer: len(kept[layer.layer]) for layer in model.layers}
    num_experts = max(counts.values())
    for key in EXPERT_COUNT_KEYS:
        if config.get(key) == model.num_experts:
            config[key] = num_experts
    for key in TOP_K_KEYS:
        if config.get(key) == model.top_k:
            config[key] = top_k
    if config.get("num_experts_per_layer") is not None:
        config["num_experts_per_layer"] = [
            counts.get(i, 0) for i in range(model.num_layers)
        ]
    if any(layer.always_active for layer in model.layers):
        _renumber_always_active(config, model, kept)
    if model.predictors and "num_nextn_predict_layers" in config:
        config["num_nextn_predict_layers"] = 0
    prune_quantization(config, kept)
    return config


def _renumber_always_active(
    config: dict[str, Any], model: MoEModel, kept: Mapping[int, Sequence[int]]
) -> None:
    """Give always-active experts their new ids, per layer where layers differ."""
    renumbered = {layer.layer: _new_ids(layer, kept) for layer in model.layers}
    distinct = {tuple(ids) for ids in renumbered.values()}
    if len(distinct) == 1 and not config.get("always_active_experts_per_layer"):
        config["always_active_experts"] = list(distinct.pop())
        return
    if "always_active_experts" in config:
        config["always_active_experts"] = None
    config["always_active_experts_per_layer"] = [
        renumbered.get(i, []) for i in range(model.num_layers)
    ]


def _new_ids(layer: MoELayer, kept: Mapping[int, Sequence[int]]) -> list[int]:
    position = {expert: new for new, expert in enumerate(kept[layer.layer])}
    return [position[expert] for expert in layer.always_active]
