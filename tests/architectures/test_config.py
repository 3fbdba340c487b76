"""The config of a pruned model is the source's own, with only the counts changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emo_prune.architectures import prune_config
from emo_prune.errors import LayoutMismatch
from tests.tiny_checkpoints import (
    CONFIG,
    EMO,
    NUM_EXPERTS,
    blob,
    moe_blobs,
    opened,
    write_checkpoint,
)
from tests.tiny_models import MODEL_TYPES

HALF = dict.fromkeys(range(3), (0, 2, 5, 7))


def pruned(
    folder: Path,
    config: dict[str, Any],
    kept: dict[int, Any] | None = None,
    top_k: int = 2,
    blobs: Any = None,
) -> dict[str, Any]:
    model = opened(write_checkpoint(folder, config, blobs))
    return prune_config(model, kept or HALF, top_k)


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    assert list(before) == [key for key in after if key in before]
    return {k: v for k, v in after.items() if k not in before or before[k] != v}


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_only_the_expert_count_changes(
    saved: Callable[[str], Path], model_type: str
) -> None:
    model = opened(saved(model_type))
    after = prune_config(model, HALF, model.top_k)
    found = changes(dict(model.config), after)
    assert len(found) == 1
    assert model.config[next(iter(found))] == NUM_EXPERTS
    assert list(found.values()) == [4]


def test_every_alias_that_is_there_changes(tmp_path: Path) -> None:
    config = CONFIG | {
        "num_local_experts": 8,
        "moe_num_experts": 8,
        "num_experts_per_token": 2,
        "moe_topk": 2,
        "hidden_size": 8,
        "moe_k": 5,
    }
    assert changes(config, pruned(tmp_path, config, top_k=1)) == {
        "num_experts": 4,
        "num_local_experts": 4,
        "moe_num_experts": 4,
        "num_experts_per_tok": 1,
        "num_experts_per_token": 1,
        "moe_topk": 1,
    }


def test_alias_with_another_value_stays(tmp_path: Path) -> None:
    config = CONFIG | {"n_routed_experts": 8, "num_experts": 128}
    config["model_type"] = "glm4_moe"
    assert changes(config, pruned(tmp_path, config)) == {"n_routed_experts": 4}


def test_emo_counts_per_layer_change(tmp_path: Path) -> None:
    blobs = moe_blobs(layers=[1], num_experts=6) | moe_blobs(layers=[2])
    blobs["model.layers.0.mlp.gate_proj.weight"] = blob("BF16", 8, 4)
    config = EMO | {"num_hidden_layers": 3, "num_experts_per_layer": [0, 6, 8]}
    kept = {1: (1, 2, 5), 2: (0, 1, 2, 7)}
    after = pruned(tmp_path, config, kept, 3, blobs)
    assert changes(config, after) == {
        "num_experts": 4,
        "num_experts_per_layer": [0, 3, 4],
    }


def test_always_active_experts_get_their_new_ids(tmp_path: Path) -> None:
    config = EMO | {"always_active_experts": [5, 2]}
    after = pruned(tmp_path, config, top_k=3)
    assert changes(config, after) == {"num_experts": 4, "always_active_experts": [1, 2]}


def test_always_active_experts_part_where_layers_differ(tmp_path: Path) -> None:
    config = EMO | {"always_active_experts": [5]}
    after = pruned(tmp_path, config, {0: (0, 1, 5, 7), 1: (0, 5, 6, 7)}, 3)
    assert changes(config, after) == {
        "num_experts": 4,
        "always_active_experts": None,
        "always_active_experts_per_layer": [[2], [1]],
    }


def test_always_active_experts_per_layer_stay_per_layer(tmp_path: Path) -> None:
    config = EMO | {"always_active_experts_per_layer": [[5], None]}
    after = pruned(tmp_path, config, {0: (0, 1, 5, 7), 1: (0, 5, 6, 7)}, 3)
    assert changes(config, after) == {
        "num_experts": 4,
        "always_active_experts_per_layer": [[2], []],
    }


def test_dropped_prediction_layers_are_announced(tmp_path: Path) -> None:
    blobs = moe_blobs() | {"model.layers.2.eh_proj.weight": blob("BF16", 2)}
    config = CONFIG | {"num_nextn_predict_layers": 1}
    after = pruned(tmp_path, config, blobs=blobs)
    assert changes(config, after) == {"num_experts": 4, "num_nextn_predict_layers": 0}


def test_the_source_s_config_is_not_touched(tmp_path: Path) -> None:
    settings = {"ignore": ["model.layers.0.mlp.experts.2"]}
    model = opened(
        write_checkpoint(tmp_path, CONFIG | {"quantization_config": settings})
    )
    prune_config(model, HALF, 2)
    assert model.config == CONFIG | {"quantization_config": settings}


NAMES = {
    "lm_head": "lm_head",
    "model.layers.0.mlp.gate": "model.layers.0.mlp.gate",
    "model.layers.0.mlp.experts.2.up_proj": "model.layers.0.mlp.experts.1.up_proj",
    "model.layers.1.mlp.experts.7": "model.layers.1.mlp.experts.3",
    "layers.1.mlp.experts.5.up_proj": "layers.1.mlp.experts.2.up_proj",
    "model.layers.0.mlp.experts.3.up_proj": None,
    "model.layers.0.mlp.experts.1": None,
    "model.layers.9.mlp.experts.0.up_proj": None,
    "model.layers.0.mlp.shared_experts.3.up_proj": "model.layers.0.mlp.shared_experts"
    ".3.up_proj",
    "re:.*mlp.gate$": "re:.*mlp.gate$",
    r"re:.*experts\.\d+\.up_proj": r"re:.*experts\.\d+\.up_proj",
    "re:.*self_attn.*": "re:.*self_attn.*",
}


def test_module_names_in_quantisation_lists_are_renumbered(tmp_path: Path) -> None:
    settings = {"quant_method": "x", "bits": 4, "ignore": list(NAMES)}
    config = CONFIG | {"quantization_config": settings}
    after = pruned(tmp_path, config)["quantization_config"]
    kept = [name for name in NAMES.values() if name]
    assert after == {"quant_method": "x", "bits": 4, "ignore": kept}


def test_module_names_as_quantisation_keys_are_renumbered(tmp_path: Path) -> None:
    settings = {"modules": {name: {"bits": i} for i, name in enumerate(NAMES)}}
    config = CONFIG | {"quantization": settings}
    after = pruned(tmp_path, config)["quantization"]["modules"]
    assert after == {n: {"bits": i} for i, n in enumerate(NAMES.values()) if n}


@pytest.mark.parametrize(
    "pattern",
    [
        r"re:.*layers\.0\..*experts\.3\..*",
        "re:.*layers.0.mlp.experts.3.*",
        r"re:.*experts\.(1|5)\.up_proj",
        r"-:.*experts\.[0-4]\..*",
        r"+:model\.layers\.0\.mlp\.experts\.1\.up_proj",
        r"re:.*experts\.(?:1|5)$",
        r"re:.*experts[.]3",
        r".*experts\.(?P<id>3)",
    ],
)
def test_pattern_with_expert_ids_is_refused(tmp_path: Path, pattern: str) -> None:
    config = CONFIG | {"quantization_config": {"ignore": [pattern]}}
    with pytest.raises(LayoutMismatch, match="pattern") as caught:
        pruned(tmp_path, config)
    assert caught.value.hint
