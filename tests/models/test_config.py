"""Configurations: what they refuse, and how they are written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from emo_prune import EmoConfig
from emo_prune.errors import BadConfig

Make = Callable[..., EmoConfig]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"norm_topk_prob": True}, "norm_topk_prob, layer 0"),
        (
            {
                "norm_topk_prob": True,
                "num_shared_experts": 0,
                "always_active_experts": [1],
            },
            "norm_topk_prob, layer 0",
        ),
        ({"num_experts_per_layer": [8, 8]}, "num_experts_per_layer"),
        ({"num_experts_per_layer": [8, 0, 8]}, "dense_intermediate_size, layer 1"),
        ({"num_experts_per_layer": [8, 8, 2]}, "num_experts_per_tok, layer 2"),
        ({"num_shared_experts": 4}, "num_experts_per_tok, layer 0"),
        ({"num_shared_experts_per_layer": [1, 9, 1]}, "num_experts_per_tok, layer 1"),
        ({"always_active_experts": [8]}, "always_active_experts, layer 0"),
        ({"always_active_experts": [1, 1]}, "always_active_experts, layer 0"),
    ],
)
def test_contradictions_are_refused(
    tiny_config: Make, changes: dict[str, Any], where: str
) -> None:
    with pytest.raises(BadConfig) as caught:
        tiny_config(**changes)
    assert caught.value.where == where
    assert caught.value.hint


def test_layer_experts_follow_the_per_layer_lists(tiny_config: Make) -> None:
    config = tiny_config(
        num_experts_per_layer=[0, 8, 5],
        always_active_experts_per_layer=[None, [2], []],
        dense_intermediate_size=20,
    )
    layers = [config.layer_experts(layer) for layer in range(3)]
    assert [x.num_experts for x in layers] == [0, 8, 5]
    assert [x.num_shared_experts for x in layers] == [0, 1, 1]
    assert [x.always_active_experts for x in layers] == [(), (2,), ()]


@pytest.mark.compatibility
@pytest.mark.parametrize(
    "name",
    [
        "emo_shared1",
        "emo_gqa_normtopk",
        "emo_densefirst",
        "emo_alwaysactive",
        "dense_prenorm",
    ],
)
def test_saved_config_has_the_released_keys_and_values(
    goldens: Path, tmp_path: Path, name: str
) -> None:
    AutoConfig.from_pretrained(goldens / name).save_pretrained(tmp_path)
    released = json.loads((goldens / name / "config.json").read_text())
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved.pop("bos_token_id") is None
    del released["transformers_version"], saved["transformers_version"]
    assert saved == released


def test_both_spellings_of_the_rotary_keys_load(tiny_config: Make) -> None:
    old = tiny_config(rope_theta=1e4, rope_scaling={"rope_type": "linear", "factor": 2})
    new = tiny_config(
        rope_parameters={"rope_type": "linear", "factor": 2, "rope_theta": 1e4}
    )
    assert old.rope_parameters == new.rope_parameters
    assert EmoConfig(**old.to_dict()).rope_parameters == old.rope_parameters


def test_rotary_base_defaults_to_the_released_one(tiny_config: Make) -> None:
    assert tiny_config().to_dict()["rope_theta"] == 500_000
