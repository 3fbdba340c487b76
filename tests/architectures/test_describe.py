"""The table agrees with what transformers writes, and config with tensors."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emo_prune.architectures import (
    ARCHITECTURES,
    Inspection,
    MoEModel,
    describe,
    inspect_model,
)
from emo_prune.checkpoint import open_checkpoint
from emo_prune.errors import LayoutMismatch, UnsupportedArchitecture
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

MOE_LAYERS = {"emoe": [0, 2], "qwen2_moe": [0, 2], "deepseek_v2": [1, 2],
              "deepseek_v3": [1, 2], "glm4_moe": [1, 2]}  # fmt: skip


def names(model: MoEModel) -> list[str]:
    """Return the names of all tensors, one for each role that a tensor has."""
    tensors = [*model.other, *model.predictors]
    for layer in model.layers:
        tensors += layer.tensors
    return sorted(tensor.name for tensor in tensors)


def test_every_architecture_is_tested() -> None:
    assert set(MODEL_TYPES) == set(ARCHITECTURES)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_saved_model_is_described(
    saved: Callable[[str], Path], model_type: str
) -> None:
    checkpoint = open_checkpoint(str(saved(model_type)))
    model = describe(checkpoint)
    assert names(model) == sorted(checkpoint.tensors)
    assert model.num_experts == NUM_EXPERTS
    assert [layer.layer for layer in model.layers] == MOE_LAYERS.get(model_type, [0, 1])
    assert model.top_k == (3 if model_type == "emo" else 2)
    grouped = model.architecture.group_picks > 0
    assert (model.num_groups, model.top_k_groups) == ((2, 1) if grouped else (1, 1))
    for layer in model.layers:
        assert layer.shared == ((7,) if model_type == "emo" else ())
        rows = {tensor.name.partition(f".{model.architecture.block}.")[2]
                for tensor in layer.router}  # fmt: skip
        assert rows == set(model.architecture.router_rows)
        stacked = model_type == "gpt_oss"
        assert len(layer.experts) == (0 if stacked else NUM_EXPERTS)
        assert {t.shape[0] for t in layer.stacked} == (
            {NUM_EXPERTS} if stacked else set()
        )


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_nothing_with_an_expert_axis_is_left_over(
    saved: Callable[[str], Path], model_type: str
) -> None:
    model = opened(saved(model_type))
    for tensor in model.other:
        assert not re.search(r"\bexperts\.", tensor.name)
        assert "router" not in tensor.name
        in_block = f".{model.architecture.block}." in tensor.name
        assert not (in_block and tensor.shape[:1] == (NUM_EXPERTS,))


def test_stacked_experts_are_found_in_any_architecture(tmp_path: Path) -> None:
    blobs = {name: b for name, b in moe_blobs().items() if ".experts." not in name}
    for layer in range(2):
        experts = f"model.layers.{layer}.mlp.experts"
        blobs[f"{experts}.gate_up_proj"] = blob("BF16", NUM_EXPERTS, 6, 4)
        blobs[f"{experts}.down_proj"] = blob("BF16", NUM_EXPERTS, 4, 3)
    model = opened(write_checkpoint(tmp_path, blobs=blobs))
    assert names(model) == sorted(blobs)
    assert [len(layer.stacked) for layer in model.layers] == [2, 2]
    assert model.layers[0].expert_bytes == 2 * NUM_EXPERTS * (24 + 12)


def test_names_without_a_prefix_are_found(tmp_path: Path) -> None:
    blobs = {name.removeprefix("model."): b for name, b in moe_blobs().items()}
    model = opened(write_checkpoint(tmp_path, blobs=blobs))
    assert [layer.layer for layer in model.layers] == [0, 1]
    assert names(model) == sorted(blobs)


@pytest.mark.parametrize("mtp", ["model.layers.2.mlp.experts.0.up_proj.weight",
                                 "model.layers.2.eh_proj.weight",
                                 "mtp.layers.0.mlp.gate.weight"])  # fmt: skip
def test_prediction_layers_are_set_apart(tmp_path: Path, mtp: str) -> None:
    blobs = moe_blobs() | {mtp: blob("BF16", 3, 4)}
    model = opened(write_checkpoint(tmp_path, blobs=blobs))
    assert [tensor.name for tensor in model.predictors] == [mtp]
    assert [layer.layer for layer in model.layers] == [0, 1]


def test_dense_layers_have_no_experts(tmp_path: Path) -> None:
    blobs = moe_blobs(layers=[1])
    blobs["model.layers.0.mlp.gate_proj.weight"] = blob("BF16", 8, 4)
    model = opened(write_checkpoint(tmp_path, blobs=blobs))
    assert [layer.layer for layer in model.layers] == [1]
    assert "model.layers.0.mlp.gate_proj.weight" in {t.name for t in model.other}


# --- configs ------------------------------------------------------------------------


def write_emo(folder: Path, **changes: Any) -> Path:
    return write_checkpoint(folder, {**EMO, **changes}, moe_blobs())


def test_emo_settings_per_layer(tmp_path: Path) -> None:
    blobs = moe_blobs(layers=[1], num_experts=6) | moe_blobs(layers=[2], num_experts=8)
    blobs["model.layers.0.mlp.gate_proj.weight"] = blob("BF16", 8, 4)
    config = EMO | {
        "num_hidden_layers": 3,
        "num_experts_per_layer": [0, 6, 8],
        "num_shared_experts_per_layer": [0, 2, 1],
    }
    model = opened(write_checkpoint(tmp_path, config, blobs))
    assert [layer.shared for layer in model.layers] == [(4, 5), (7,)]
    assert model.num_shared_experts == 2
    assert [len(layer.experts) for layer in model.layers] == [6, 8]


def test_always_active_experts_replace_shared_ones(tmp_path: Path) -> None:
    model = opened(write_emo(tmp_path, always_active_experts=[5, 2]))
    assert {layer.obligatory for layer in model.layers} == {(2, 5)}
    model = opened(write_emo(tmp_path, always_active_experts_per_layer=[[4], None]))
    assert [layer.obligatory for layer in model.layers] == [(4,), (7,)]


@pytest.mark.parametrize(
    "changes",
    [
        {"num_experts": 7},
        {"num_experts": 9},
        {"num_experts": None},
        {"num_experts": 0},
        {"num_experts": -8},
        {"num_experts": "8"},
        {"num_experts": 8.0},
        {"num_experts": True},
        {"num_experts": 10**12},
        {"num_hidden_layers": 3},
        {"num_hidden_layers": 10**12},
        {"num_hidden_layers": None},
        {"num_hidden_layers": [2]},
        {"num_experts_per_tok": 9},
        {"num_experts_per_tok": 0},
        {"num_experts_per_tok": None},
        {"num_shared_experts": -1},
        {"num_shared_experts": "1"},
        {"num_shared_experts": [1]},
        {"num_shared_experts": 4},
        {"num_shared_experts_per_layer": [1]},
        {"num_shared_experts_per_layer": [1, "x"]},
        {"num_shared_experts_per_layer": [1, 9]},
        {"num_experts_per_layer": 8},
        {"num_experts_per_layer": [8, 7]},
        {"num_experts_per_layer": [8, 0]},
        {"num_experts_per_layer": [8, 8, 8]},
        {"always_active_experts": 2},
        {"always_active_experts": [8]},
        {"always_active_experts": [-1]},
        {"always_active_experts": ["2"]},
        {"always_active_experts": [2, 2]},
        {"always_active_experts": [0, 1, 2, 3]},
        {"always_active_experts_per_layer": [[2]]},
        {"always_active_experts_per_layer": [[2], 3]},
        {"always_active_experts_per_layer": {"0": [2]}},
    ],
    ids=str,
)
def test_config_that_does_not_fit_is_named(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(LayoutMismatch) as caught:
        opened(write_emo(tmp_path, **changes))
    assert caught.value.hint


@pytest.mark.parametrize(
    "changes",
    [
        {"n_group": 3},
        {"n_group": 0},
        {"n_group": "2"},
        {"n_group": [2]},
        {"n_group": 2, "topk_group": 3},
        {"n_group": 2, "topk_group": -1},
    ],
    ids=str,
)
def test_groups_that_do_not_fit_are_named(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    config = CONFIG | {"model_type": "deepseek_v3"} | changes
    with pytest.raises(LayoutMismatch) as caught:
        opened(write_checkpoint(tmp_path, config))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("method", "groups"),
    [("group_limited_greedy", 2), ("greedy", 1), (None, 1)],
)
def test_deepseek_v2_groups_only_when_told(
    tmp_path: Path, method: str | None, groups: int
) -> None:
    config = CONFIG | {"model_type": "deepseek_v2", "n_group": 2, "topk_group": 1}
    config |= {"topk_method": method} if method else {}
    model = opened(write_checkpoint(tmp_path, config))
    assert (model.num_groups, model.top_k_groups) == (groups, 1)


def test_stray_alias_does_not_count(tmp_path: Path) -> None:
    config = CONFIG | {"model_type": "glm4_moe", "n_routed_experts": 8}
    model = opened(write_checkpoint(tmp_path, config | {"num_experts": 128}))
    assert model.num_experts == 8


@pytest.mark.parametrize("model_type", ["llama", "olmo", None, 3, ["olmoe"], {}])
def test_unknown_model_type_is_named(tmp_path: Path, model_type: Any) -> None:
    config = CONFIG | {"model_type": model_type}
    with pytest.raises(UnsupportedArchitecture) as caught:
        opened(write_checkpoint(tmp_path, config))
    assert caught.value.hint
    assert "mixtral" in str(caught.value)


def test_close_model_type_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedArchitecture) as caught:
        opened(write_checkpoint(tmp_path, CONFIG | {"model_type": "qwen3moe"}))
    assert "qwen3_moe" in caught.value.hint


# --- tensors ------------------------------------------------------------------------

GATE = "model.layers.1.mlp.gate.weight"
UP = "model.layers.1.mlp.experts.5.up_proj.weight"


@pytest.mark.parametrize(
    "changes",
    [
        {GATE: None},
        {GATE: blob("BF16", 7, 4)},
        {GATE: blob("BF16", 4, 8)},
        {GATE: ("BF16", (), b"ab")},
        {GATE: blob("I32", 8, 4)},
        {GATE: blob("F8_E4M3", 8, 4)},
        {"model.layers.1.mlp.gate.qweight": blob("I32", 8, 4)},
        {"model.layers.1.mlp.gate.weight_scale_inv": blob("F32", 1, 1)},
        {GATE: None, "model.layers.1.mlp.gate.weight_packed": blob("I32", 8, 1)},
        {UP: None},
        {UP: blob("BF16", 3, 5)},
        {UP: blob("F16", 3, 4)},
        {"model.layers.1.mlp.experts.5.up_proj.bias": blob("BF16", 3)},
        {"model.layers.1.mlp.experts.8.up_proj.weight": blob("BF16", 3, 4)},
        {"model.layers.1.mlp.experts.05.up_proj.weight": blob("BF16", 3, 4)},
        {"model.layers.1.mlp.experts.\u0665.up_proj.weight": blob("BF16", 3, 4)},
        {"model.layers.1.mlp.experts." + "9" * 5000 + ".w": blob("BF16", 3, 4)},
        {"model.layers.1.mlp.experts.gate_up_proj": blob("BF16", 7, 4)},
        {f"draft.{name.removeprefix('model.')}": b for name, b in moe_blobs().items()},
        {name: None for name in moe_blobs() if ".layers.1.mlp." in name},
        {name: None for name in moe_blobs() if ".layers.1." in name},
        {name: None for name in moe_blobs() if ".1.mlp.experts." in name},
        {name: None for name in moe_blobs() if ".mlp." in name},
    ],
    ids=lambda changes: next(iter(changes))[:60],
)
def test_tensors_that_do_not_fit_are_named(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    blobs = {n: b for n, b in {**moe_blobs(), **changes}.items() if b is not None}
    with pytest.raises(LayoutMismatch) as caught:
        opened(write_checkpoint(tmp_path, blobs=blobs))
    assert caught.value.hint


def test_layer_number_of_any_length_is_read(tmp_path: Path) -> None:
    name = "model.layers." + "9" * 5000 + ".mlp.experts.0.up_proj.weight"
    model = opened(
        write_checkpoint(tmp_path, blobs=moe_blobs() | {name: blob("U8", 1)})
    )
    assert name in {tensor.name for tensor in model.other}


# --- inspection ---------------------------------------------------------------------


def test_inspection_adds_up(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, CONFIG | {"quantization_config": {}}, shards=3)
    model = opened(folder)
    found: Inspection = inspect_model(model)
    experts = 2 * 8 * 2 * 12  # layers, experts, projections, elements
    other = 10 * 4 + 4 + 2 * (16 + 8 * 4)
    assert found.num_parameters == experts + other
    assert found.num_expert_parameters == experts
    assert found.num_active_parameters == experts // 4 + other
    assert found.num_bytes == model.checkpoint.num_bytes == sum(found.dtypes.values())
    assert found.num_expert_bytes == 2 * experts
    assert found.num_shards == 3
    assert [(s.num_experts, s.routable) for s in found.sizes] == [
        (4, True),
        (2, True),
        (1, False),
    ]
    half = found.sizes[0]
    rows = 2 * 8 * 4 * 2
    assert half.num_bytes == found.num_bytes - (2 * experts + rows) // 2
