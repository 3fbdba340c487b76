"""Loading and saving: the released layout on disk, fused experts in memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModel, AutoModelForCausalLM

from emo_prune import EmoConfig, EmoForCausalLM

from .conftest import read_tensors

pytestmark = pytest.mark.compatibility


@pytest.mark.parametrize(
    "name",
    [
        "emo_shared1",
        "stdmoe",
        "emo_gqa_normtopk",
        "emo_densefirst",
        "emo_alwaysactive",
        "dense_prenorm",
    ],
)
def test_saved_bytes_equal_the_loaded_ones(
    goldens: Path, tmp_path: Path, name: str
) -> None:
    model = AutoModelForCausalLM.from_pretrained(goldens / name)
    model.save_pretrained(tmp_path, max_shard_size="150KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    source, saved = read_tensors(goldens / name), read_tensors(tmp_path)
    assert source.keys() == saved.keys()
    assert all(
        torch.equal(source[k].view(torch.uint8), saved[k].view(torch.uint8))
        for k in source
    )


def test_model_made_from_a_config_is_saved_per_expert(
    tiny_emo: Callable[..., Any], tmp_path: Path, tokens: Tensor
) -> None:
    model = tiny_emo(num_experts_per_layer=[8, 0, 5], dense_intermediate_size=20)
    model.save_pretrained(tmp_path)
    saved = read_tensors(tmp_path)
    assert "model.layers.2.mlp.experts.4.gate_proj.weight" in saved
    assert "model.layers.1.mlp.gate_proj.weight" in saved
    assert not any("gate_up_proj" in name for name in saved)
    again = EmoForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(again(tokens).logits, model(tokens).logits)


def test_nothing_is_missing_or_left_over(goldens: Path) -> None:
    _, info = AutoModelForCausalLM.from_pretrained(
        goldens / "emo_densefirst", output_loading_info=True
    )
    assert not any(info.values())


def test_base_model_loads_from_the_full_checkpoint(goldens: Path) -> None:
    model = AutoModel.from_pretrained(goldens / "emo_shared1")
    assert type(model).__name__ == "EmoModel"
    expert = read_tensors(goldens / "emo_shared1")[
        "model.layers.3.mlp.experts.15.down_proj.weight"
    ]
    assert torch.equal(model.layers[3].mlp.experts.down_proj[15], expert)


@pytest.mark.parametrize("trust_remote_code", [None, False, True])
def test_remote_code_gives_way_to_the_registered_model(
    goldens: Path, tmp_path: Path, trust_remote_code: bool | None
) -> None:
    folder = shutil.copytree(goldens / "emo_shared1", tmp_path / "remote")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {
        "AutoConfig": "configuration_emo.EmoConfig",
        "AutoModel": "modeling_emo.EmoModel",
        "AutoModelForCausalLM": "modeling_emo.EmoForCausalLM",
    }
    (folder / "config.json").chmod(0o644)
    (folder / "config.json").write_text(json.dumps(config))
    model = AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=trust_remote_code
    )
    assert type(model) is EmoForCausalLM


def test_device_map_places_the_layers(goldens: Path, tokens: Tensor) -> None:
    plain = EmoForCausalLM.from_pretrained(goldens / "emo_shared1")
    mapped = EmoForCausalLM.from_pretrained(goldens / "emo_shared1", device_map="auto")
    assert torch.equal(plain(tokens).logits, mapped(tokens).logits)


def test_tied_embeddings_stay_tied(goldens: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(goldens / "emo_gqa_normtopk")
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_meta_device_construction_allocates_nothing() -> None:
    with torch.device("meta"):
        model = EmoForCausalLM(EmoConfig(num_shared_experts=1))
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(
        13.57e9, rel=1e-3
    )
