"""A pruned checkpoint: its tensors as byte ranges of the source's, and its config."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from emo_prune.architectures.config import (
    EXPERT_COUNT_KEYS,
    QUANTIZATION_KEYS,
    TOP_K_KEYS,
)
from emo_prune.architectures.model import MoELayer, MoEModel
from emo_prune.checkpoint import DTYPES, ByteRange, OutputTensor, Tensor
from emo_prune.errors import LayoutMismatch
from emo_prune.places import CONFIG

NOWHERE = ""  # the file of bytes that are no file's


def subset_tensors(
    model: MoEModel, kept: Mapping[int, Sequence[int]]
) -> list[OutputTensor]:
    """Return the output's tensors in the source's order and layout.

    Experts are renumbered 0..K-1 in ascending original order, router rows and stacked
    experts are cut in step, every other tensor is taken whole. Multi-token-prediction
    layers are left out: no calibration token passes them, so nothing is known of
    their experts.
    """
    pruned: dict[str, OutputTensor | None] = {t.name: None for t in model.predictors}
    for layer in model.layers:
        ids = kept[layer.layer]
        pruned.update({t.name: None for expert in layer.experts for t in expert})
        cut = (*router_tensors(layer, ids), *expert_tensors(layer, ids))
        pruned.update({tensor.name: tensor for tensor in cut})
    outputs = [
        pruned[tensor.name] if tensor.name in pruned else whole(tensor)
        for tensor in model.checkpoint.tensors.values()
    ]
    return [output for output in outputs if output is not None]


def whole(tensor: Tensor, name: str | None = None) -> OutputTensor:
    """Return a tensor taken as it is, under a new name if one is given."""
    return OutputTensor(
        name=name or tensor.name,
        dtype=tensor.dtype,
        shape=tensor.shape,
        ranges=(ByteRange(tensor.shard, tensor.start, tensor.end),),
    )


def computed(
    name: str,
    dtype: str,
    shape: tuple[int, ...],
    data: Callable[[], bytes] | None = None,
) -> OutputTensor:
    """Return a tensor whose bytes `data` returns, once it is known."""
    num_bytes = math.prod(shape) * DTYPES[dtype].bits // 8
    ranges = (ByteRange(NOWHERE, 0, num_bytes, data),)
    return OutputTensor(name=name, dtype=dtype, shape=shape, ranges=ranges)


def rows(tensor: Tensor, kept: Sequence[int]) -> OutputTensor:
    """Return a tensor cut to the kept indices of its first axis.

    Raises:
        LayoutMismatch: one index is not a whole number of bytes.
    """
    row_bytes, remainder = divmod(tensor.num_bytes, tensor.shape[0])
    if remainder:
        raise LayoutMismatch(
            "an expert's part of a tensor is not a whole number of bytes",
            where=tensor.name,
            got=f"{tensor.num_bytes} bytes for {tensor.shape[0]} experts",
            hint="export the unquantised checkpoint and quantise the export",
        )
    starts = [tensor.start + index * row_bytes for index in kept]
    return OutputTensor(
        name=tensor.name,
        dtype=tensor.dtype,
        shape=(len(kept), *tensor.shape[1:]),
        ranges=tuple(ByteRange(tensor.shard, at, at + row_bytes) for at in starts),
    )


def router_tensors(layer: MoELayer, kept: Sequence[int]) -> list[OutputTensor]:
    """Return a layer's router cut to the kept experts."""
    return [rows(tensor, kept) for tensor in layer.router]


def expert_tensors(layer: MoELayer, kept: Sequence[int]) -> list[OutputTensor]:
    """Return the kept experts of a layer, numbered 0..K-1 in the given order."""
    outputs = [rows(tensor, kept) for tensor in layer.stacked]
    for new, old in enumerate(kept):
        for tensor in layer.experts[old] if layer.experts else ():
            name = tensor.name.replace(f".experts.{old}.", f".experts.{new}.", 1)
            outputs.append(whole(tensor, name))
    return outputs


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
    _prune_quantization(config, kept)
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


_LITERAL = re.compile(
    r"^(?P<head>.*\blayers\.(?P<layer>\d{1,6})\..*\bexperts\.)(?P<expert>\d{1,6})(?P<tail>$|\..*)$"
)
# An expert id inside a regular expression cannot be renumbered safely.
_ID_IN_PATTERN = re.compile(r"(?<!_)experts(\\\.|\.|\[\.\])[(\[]?(\?(:|P<\w+>))?\d")
_PREFIXES = ("re:", "-:", "+:")


def _prune_quantization(
    config: dict[str, Any], kept: Mapping[int, Sequence[int]]
) -> None:
    """Renumber, in place, the expert ids in a config's quantisation settings.

    Covers lists such as `ignore` and `modules_to_not_convert`, and settings whose
    keys are module names.

    Raises:
        LayoutMismatch: a regular expression names experts by number.
    """
    for key in QUANTIZATION_KEYS:
        if isinstance(config.get(key), dict):
            config[key] = _prune(config[key], kept)


def _prune(value: Any, kept: Mapping[int, Sequence[int]]) -> Any:
    if isinstance(value, dict):
        renamed = {_rename(key, kept): _prune(v, kept) for key, v in value.items()}
        return {key: v for key, v in renamed.items() if key is not None}
    if isinstance(value, list):
        return [v for item in value if (v := _prune(item, kept)) is not None]
    if isinstance(value, str):
        return _rename(value, kept)
    return value


def _rename(name: str, kept: Mapping[int, Sequence[int]]) -> str | None:
    """Return a module's name with its expert's new id; None if the expert is gone."""
    found = _LITERAL.match(name)
    if found and not name.startswith(_PREFIXES):
        ids = list(kept.get(int(found["layer"]), ()))
        expert = int(found["expert"])
        if expert not in ids:
            return None
        return f"{found['head']}{ids.index(expert)}{found['tail']}"
    if _ID_IN_PATTERN.search(name):
        raise LayoutMismatch(
            "the quantisation settings name experts inside a pattern",
            where=f"{CONFIG}, quantization_config",
            got=name,
            expected="module names without a pattern",
            hint="export the unquantised checkpoint and quantise the export",
        )
    return name
