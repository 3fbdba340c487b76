"""What a config says of its experts: counts, shared ones, groups; each one checked."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from emo_prune.errors import LayoutMismatch
from emo_prune.places import CONFIG

# Every name a config may give the same number. All that are present are edited; the
# first counts (GLM-4 configs can hold a stray `num_experts` beside the true one).
EXPERT_COUNT_KEYS = (
    "n_routed_experts",
    "num_experts",
    "num_local_experts",
    "moe_num_experts",
)
TOP_K_KEYS = ("num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_topk")
QUANTIZATION_KEYS = ("quantization_config", "quantization")


def positive(config: Mapping[str, Any], keys: Sequence[str]) -> int:
    """Return the first of some keys that is there; all name the same number."""
    for key in keys:
        value = config.get(key)
        if value is None:
            continue
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        raise wrong(f"{key} is not a positive integer", value)
    raise wrong(
        "the config does not give a number that every such model has",
        None,
        expected=" or ".join(keys),
    )


def of_layer(config: Mapping[str, Any], key: str, layer: int, default: int) -> int:
    """Return a layer's entry of a list with one count per layer, if there is one."""
    per_layer = config.get(key)
    if per_layer is None:
        return default
    if (
        not isinstance(per_layer, list)
        or len(per_layer) != config["num_hidden_layers"]
        or not all(type(value) is int and value >= 0 for value in per_layer)
    ):
        expected = f"{config['num_hidden_layers']} integers"
        raise wrong(f"{key} is not one count per layer", per_layer, expected=expected)
    return int(per_layer[layer])


def shared_experts(config: Mapping[str, Any], layer: int, num_experts: int) -> int:
    """Return how many of a layer's experts are shared; no more than it has."""
    number = config.get("num_shared_experts") or 0
    if type(number) is not int or number < 0:
        raise wrong("num_shared_experts is not a count", number)
    number = min(number, num_experts)
    number = of_layer(config, "num_shared_experts_per_layer", layer, number)
    if number > num_experts:
        raise wrong(
            "a layer has more shared experts than experts",
            number,
            key=f"num_shared_experts_per_layer, layer {layer}",
            expected=f"at most {num_experts}",
        )
    return number


def always_active_experts(
    config: Mapping[str, Any], layer: int, num_experts: int
) -> tuple[int, ...]:
    """Return the ids of the experts that every token of a layer uses, ascending."""
    listed = config.get("always_active_experts")
    per_layer = config.get("always_active_experts_per_layer")
    if per_layer is not None:
        complete = isinstance(per_layer, list) and layer < len(per_layer)
        listed = per_layer[layer] if complete else per_layer
    listed = [] if listed is None else listed
    if (
        not isinstance(listed, list)
        or not all(type(i) is int and 0 <= i < num_experts for i in listed)
        or len(set(listed)) < len(listed)
    ):
        raise wrong(
            "the always-active experts are not experts of the layer",
            listed,
            key=f"always_active_experts, layer {layer}",
            expected=f"distinct ids below {num_experts}",
        )
    return tuple(sorted(listed))


def wrong(
    what: str, got: object, *, key: str = "", expected: str | None = None
) -> LayoutMismatch:
    """Return the error for a config that says what cannot be; `got` None: nothing."""
    return LayoutMismatch(
        what,
        where=f"{CONFIG}, {key}" if key else CONFIG,
        got=None if got is None else reprlib.repr(got),
        expected=expected,
        hint=f"check {CONFIG}",
    )


def quantization_key(config: Mapping[str, Any]) -> str | None:
    """Return under which key a config says how weights are quantised; None if none."""
    return next((key for key in QUANTIZATION_KEYS if config.get(key) is not None), None)
