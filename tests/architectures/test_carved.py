"""Carved checkpoints are described and inspected, and refused by name where wrong."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from emo_prune.architectures import inspect_model, prune_config
from emo_prune.errors import LayoutMismatch
from emo_prune.reports.terminal import inspection_table
from tests.tiny_checkpoints import CONFIG, Blob, blob, moe_blobs, opened
from tests.tiny_checkpoints import write_checkpoint as write

EMOE: dict[str, Any] = CONFIG | {
    "architectures": ["EmoeForCausalLM"],
    "model_type": "emoe",
    "dense_config": {"model_type": "llama", "intermediate_size": 24, "dtype": "x"},
    "carved_layers": [1],
    "moe_intermediate_size": 3,
    "gate_source": "gate",
}
PARTS = {
    "gate_proj.weight": ("BF16", 3, 4),
    "up_proj.weight": ("BF16", 3, 4),
    "down_proj.weight": ("BF16", 4, 3),
    "neurons": ("I32", 3),
}


def blobs(names: str = "model.layers") -> dict[str, Blob]:
    """Tensors of a model whose second layer is carved."""
    carved = moe_blobs(PARTS, layers=[1])
    dense = {f"model.layers.0.mlp.{p}": blob("BF16", 24, 4) for p in list(PARTS)[:2]}
    found = {**carved, **dense}
    del found["model.layers.1.mlp.gate.weight"]
    return {name.replace("model.layers", names): b for name, b in found.items()}


@pytest.mark.parametrize("names", ["model.layers", "layers", "transformer.h", "h"])
def test_experts_are_found_under_either_name(tmp_path: Path, names: str) -> None:
    model = opened(write(tmp_path, EMOE, blobs(names)))
    (layer,) = model.layers
    assert (layer.layer, layer.num_experts, layer.router) == (1, 8, ())
    assert len(layer.tensors) == 8 * 4
    assert len(model.dense_tensors(0)) == 2
    assert model.carving is not None
    assert model.carving.layers == (1,)


def test_inspection_says_what_is_carved_and_counts_no_neuron_numbers(
    tmp_path: Path,
) -> None:
    model = opened(write(tmp_path, EMOE | {"gate_source": "inter"}, blobs()))
    found = inspect_model(model)
    assert found.num_expert_parameters == 8 * 3 * 12
    assert found.num_parameters == 8 * 3 * 12 + 2 * 96 + 40 + 4 + 16
    assert found.num_active_parameters == found.num_parameters - 6 * 3 * 12
    assert found.to_dict()["carving"] == {
        "dense_type": "llama",
        "layers": (1,),
        "neurons_per_expert": 3,
        "gate_source": "inter",
    }
    shown = StringIO()
    Console(width=120, file=shown).print(inspection_table(found))
    text = shown.getvalue()
    assert "a dense llama: layers 1, 3 neurons an expert" in text
    assert "the mean of an expert's activations; no parameters" in text


def test_an_export_lowers_the_count_and_keeps_the_rest(tmp_path: Path) -> None:
    model = opened(write(tmp_path, EMOE, blobs()))
    after = prune_config(model, {1: (2, 5, 7)}, 2)
    assert after == EMOE | {"num_experts": 3}


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"dense_config": None}, "dense_config, model_type"),
        ({"dense_config": "llama"}, "dense_config, model_type"),
        ({"dense_config": {"model_type": "mixtral"}}, "dense_config, model_type"),
        ({"carved_layers": [0]}, "carved_layers"),
        ({"carved_layers": None}, "carved_layers"),
        ({"moe_intermediate_size": None}, "moe_intermediate_size"),
        ({"moe_intermediate_size": "3"}, "moe_intermediate_size"),
        ({"moe_intermediate_size": -3}, "moe_intermediate_size"),
        ({"gate_source": ["gate"]}, "gate_source"),
        ({"quantization_config": {"quant_method": "x"}}, "quantization_config"),
        ({"quantization": {}}, "quantization"),
        (
            {"dense_config": EMOE["dense_config"] | {"quantization_config": {"x": 1}}},
            "quantization_config",
        ),
    ],
)
def test_configs_that_do_not_fit_are_named(
    tmp_path: Path, changes: dict[str, Any], where: str
) -> None:
    with pytest.raises(LayoutMismatch) as caught:
        opened(write(tmp_path, EMOE | changes, blobs()))
    assert caught.value.where == f"config.json, {where}"
    assert "carve" in caught.value.hint


def test_a_router_that_is_stored_is_refused(tmp_path: Path) -> None:
    stored = {"model.layers.1.mlp.gate.weight": blob("BF16", 8, 4)}
    with pytest.raises(LayoutMismatch, match="router has a tensor"):
        opened(write(tmp_path, EMOE, blobs() | stored))
