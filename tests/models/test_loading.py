"""What cannot be loaded is refused by name, never by a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emo_prune.errors import CheckpointError, SettingsError
from emo_prune.models.loading import context_length, load_model, load_tokenizer
from emo_prune.models.placement import check_placement

Saved = Callable[[str], Path]

BAD_CONFIGS: list[dict[str, Any]] = [
    {"hidden_act": "nonsense"},
    {"rope_parameters": {"rope_type": "foo", "rope_theta": 1e4}},
    {"num_attention_heads": 0},
    {"num_key_value_heads": 0},
    {"hidden_size": 0},
    {"dtype": "nonsense"},
    {"pad_token_id": 999},
    {"max_position_embeddings": "x"},
    {"max_position_embeddings": 0},
    {"rms_norm_eps": "a"},
    {"auto_map": 3},
    {"quantization_config": 3},
    {"layer_types": ["foo", "foo"]},
]


def _edited(source: Path, folder: Path, changes: dict[str, Any]) -> Path:
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


@pytest.mark.parametrize("model_type", ["olmoe", "emo"])
@pytest.mark.parametrize("changes", BAD_CONFIGS, ids=lambda c: "-".join(map(str, c)))
def test_a_config_that_makes_no_model_is_a_checkpoint_error(
    model_type: str, changes: dict[str, Any], saved: Saved, tmp_path: Path
) -> None:
    folder = _edited(saved(model_type), tmp_path / "edited", changes)
    with pytest.raises(CheckpointError) as caught:
        load_model(folder, device="cpu")
    assert caught.value.hint
    assert caught.value.got


def test_a_cut_shard_is_a_checkpoint_error(saved: Saved, tmp_path: Path) -> None:
    folder = _edited(saved("olmoe"), tmp_path / "cut", {})
    shard = folder / "model.safetensors"
    shard.write_bytes(shard.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match="cannot load"):
        load_model(folder, device="cpu")


@pytest.mark.compatibility
@pytest.mark.parametrize("device", [None, "cpu", "auto"])
def test_a_model_is_loaded_for_inference(device: str | None, saved: Saved) -> None:
    model = load_model(saved("olmoe"), device=device, dtype="bfloat16")
    assert (model.training, str(model.dtype)) == (False, "torch.bfloat16")


@pytest.mark.parametrize(
    "device", ["meta", "mps", "cuda:x", "cuda:-1", "cuda:", "gpu", "", "cpu:0", "xpu"]
)
def test_other_devices_are_refused_by_name(device: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_placement(device, "auto")
    assert repr(device) in str(caught.value)
    assert "cpu" in caught.value.hint


@pytest.mark.parametrize("dtype", ["nonsense", "int8", "", "torch.float32"])
def test_other_dtypes_are_refused_by_name(dtype: str, tmp_path: Path) -> None:
    for refuse in (
        lambda: check_placement("cpu", dtype),
        lambda: load_model(tmp_path, dtype=dtype),
    ):
        with pytest.raises(SettingsError, match="no such dtype"):
            refuse()


def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(SettingsError, match="GPU"):
        check_placement("cuda:999", "auto")


@pytest.mark.parametrize(
    ("config", "length"),
    [
        ({}, None),
        ({"max_position_embeddings": None}, None),
        ({"max_position_embeddings": 77}, 77),
    ],
)
def test_the_context_is_what_the_config_says(
    config: dict[str, Any], length: int | None
) -> None:
    assert context_length(config) == length


@pytest.mark.parametrize("length", [0, -1, True, 2.5, "77", [77], {}])
def test_a_context_that_is_no_number_of_tokens_is_refused(length: Any) -> None:
    with pytest.raises(CheckpointError, match="max_position_embeddings"):
        context_length({"max_position_embeddings": length})


@pytest.mark.parametrize("model_type", ["olmoe", "qwen3_moe", "mixtral", "emo"])
def test_a_checkpoint_without_a_tokenizer_is_refused(
    model_type: str, saved: Saved, tmp_path: Path
) -> None:
    folder = _edited(saved(model_type), tmp_path / "bare", {})
    for file in folder.glob("*token*"):
        file.unlink()
    with pytest.raises(CheckpointError, match="tokenizer") as caught:
        load_tokenizer(folder)
    assert "tokenizer.json" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", "{}"),
        ("tokenizer.json", "[]"),
        ("tokenizer.json", '{"added_tokens": [], "model": {"type": "Foo"}}'),
        ("tokenizer_config.json", "[]"),
        ("tokenizer_config.json", '{"eos_token": 3}'),
        ("tokenizer_config.json", '{"model_max_length": "x"}'),
    ],
)
def test_broken_tokenizer_files_are_a_checkpoint_error(
    name: str, content: str, saved: Saved, tmp_path: Path
) -> None:
    folder = _edited(saved("olmoe"), tmp_path / "broken", {})
    (folder / name).write_text(content)
    with pytest.raises(CheckpointError, match="tokenizer"):
        load_tokenizer(folder)
