"""An EMO model written as Qwen2-MoE: the same function in a native layout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_prune.errors import EmoPruneError, NotExact, VerificationFailed
from emo_prune.exports import plan_export, read_record, verify_export, write_export
from tests.tiny_checkpoints import (
    EMO,
    Blob,
    blob,
    moe_blobs,
    opened,
    read_blobs,
    selection_of,
    write_checkpoint,
)

KEPT = (0, 3, 5, 8, 11, 15)
CONFIG = EMO | {
    "vocab_size": 10,
    "intermediate_size": 3,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "max_position_embeddings": 16,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "rope_theta": 500000.0,
}
DOWN = "model.layers.0.mlp.shared_expert.down_proj.weight"


def emo_blobs(down: Blob | None = None) -> dict[str, Blob]:
    """An EMO model by hand; `down` is the down projection of every expert."""
    down = down or ("BF16", (4, 3), np.arange(24, dtype=np.uint8).tobytes())
    parts: dict[str, tuple[Any, ...]] = {
        "gate_proj.weight": ("BF16", 3, 4),
        "up_proj.weight": ("BF16", 3, 4),
        "down_proj.weight": ("BF16", 4, 3),
    }
    blobs = moe_blobs(parts)
    for layer in range(2):
        for norm in ("pre_attention", "pre_feedforward"):
            name = f"model.layers.{layer}.{norm}_layernorm.weight"
            blobs[name] = blob("BF16", 4, seed=layer)
    return {n: down if "down_proj" in n else b for n, b in blobs.items()}


def write_as_qwen2(folder: Path, down: Blob | None = None) -> Path:
    source = write_checkpoint(folder / "source", CONFIG, emo_blobs(down))
    shutil.rmtree(folder / "out", ignore_errors=True)
    model = opened(source)
    selection = selection_of(model, (1, 4, 7))
    write_export(plan_export(model, selection, layout="qwen2_moe"), folder / "out")
    return folder / "out"


# --- the same function --------------------------------------------------------------

STOCK = """
import sys
import numpy as np, torch
from transformers import AutoModelForCausalLM
tokens = torch.from_numpy(np.load(sys.argv[1]))
for folder in sys.argv[2:]:
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert type(model).__module__ == "transformers.models.qwen2_moe.modeling_qwen2_moe"
    assert not any(info.values()), info
    with torch.no_grad():
        np.save(f"{folder}/../logits.npy", model.eval()(tokens).logits.numpy())
assert "emo_prune" not in sys.modules
"""


def test_stock_transformers_gives_the_plain_exports_logits(
    goldens: Path, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    names = ("emo_shared1", "emo_densefirst")
    tokens = torch.randint(0, 256, (2, 20), generator=torch.Generator().manual_seed(0))
    np.save(tmp_path / "tokens.npy", tokens.numpy())
    plain: dict[str, npt.NDArray[np.float32]] = {}
    for name in names:
        model = opened(goldens / name)
        selection = selection_of(model, KEPT)
        write_export(plan_export(model, selection), tmp_path / name / "plain")
        native = plan_export(model, selection, layout="qwen2_moe")
        write_export(native, tmp_path / name / "native")
        verify_export(tmp_path / name / "native", model)
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path / name / "plain")
        with torch.no_grad():
            plain[name] = loaded.eval()(tokens).logits.numpy()
    script = [sys.executable, "-c", STOCK, str(tmp_path / "tokens.npy")]
    done = subprocess.run(
        script + [str(tmp_path / name / "native") for name in names],
        cwd=tmp_path,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in names:
        native_logits = np.load(tmp_path / name / "logits.npy")
        assert np.abs(native_logits - plain[name]).max() < 1e-5
        assert np.abs(plain[name]).max() > 0.1


@pytest.mark.parametrize("model_type", ["emo", "gpt_oss", "minimax_m2"])
def test_plain_exports_load_whole(
    saved: Callable[[str], Path], tmp_path: Path, model_type: str
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = opened(saved(model_type))
    write_export(
        plan_export(model, selection_of(model, (1, 3, 4, 7))), tmp_path / "out"
    )
    loaded, info = AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not any(info.values())
    assert loaded(torch.tensor([[1, 2, 3]])).logits.isfinite().all()


def test_config_is_a_native_one(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "modeling_emo.py").touch()
    out = write_as_qwen2(tmp_path)
    config = json.loads((out / "config.json").read_text())
    assert config["model_type"] == "qwen2_moe"
    assert config["architectures"] == ["Qwen2MoeForCausalLM"]
    assert (config["num_experts"], config["num_experts_per_tok"]) == (2, 2)
    assert config["rope_theta"] == 500000.0
    assert config["norm_topk_prob"] is False
    assert not any("shared_experts" in key or "auto_map" in key for key in config)
    assert read_record(out).left_out == ("modeling_emo.py",)
    assert not (out / "modeling_emo.py").exists()
    assert [layer.num_experts for layer in opened(out).layers] == [2, 2]


# --- doubling -----------------------------------------------------------------------


def wide(data: bytes, dtype: str) -> npt.NDArray[np.float64]:
    """Decode floats exactly."""
    if dtype == "BF16":
        bits = np.frombuffer(data, "<u2").astype("<u4") << 16
        return bits.view("<f4").astype(np.float64)
    kind = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype]
    return np.frombuffer(data, kind).astype(np.float64)


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_every_16_bit_float_is_doubled_exactly_or_refused(
    tmp_path: Path, dtype: str
) -> None:
    every = np.arange(2**16, dtype="<u2")
    largest = 65504 if dtype == "F16" else float(2**127) * (2 - 2**-7)
    with np.errstate(all="ignore"):
        fits = np.abs(wide(every.tobytes(), dtype)) * 2 <= largest
    data = every[fits].tobytes()
    assert len(data) > 120_000
    out = write_as_qwen2(tmp_path, (dtype, (len(data) // 2,), data))
    doubled = read_blobs(out)[DOWN][2]
    before, after = wide(data, dtype), wide(doubled, dtype)
    assert (after == 2 * before).all()
    assert (np.signbit(after) == np.signbit(before)).all()
    verify_export(out, opened(tmp_path / "source"))


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32", "F64"])
def test_value_that_cannot_be_doubled_is_refused(tmp_path: Path, dtype: str) -> None:
    size = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8}[dtype]
    largest = {"BF16": "7f7f", "F16": "7bff", "F32": "7f7fffff",
               "F64": "7fefffffffffffff"}[dtype]  # fmt: skip
    infinite = {"BF16": "7f80", "F16": "7c00", "F32": "7f800000",
                "F64": "7ff0000000000000"}[dtype]  # fmt: skip
    signalling = f"{int(infinite, 16) + 1:x}"
    for value in (largest, infinite, signalling, "ff" * size):
        data = bytes.fromhex(value)[::-1] + bytes(size)
        with pytest.raises(NotExact, match="doubled") as caught:
            write_as_qwen2(tmp_path, (dtype, (2,), data))
        assert "layout" in caught.value.hint
        assert not list(tmp_path.glob("out*"))


@settings(max_examples=50, deadline=None)
@given(
    values=st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=8),
    kind=st.sampled_from([("F32", "<f4"), ("F64", "<f8")]),
)
def test_wider_floats_are_doubled_exactly(
    tmp_path_factory: pytest.TempPathFactory,
    values: list[float],
    kind: tuple[str, str],
) -> None:
    folder = tmp_path_factory.getbasetemp() / "doubling"
    array = np.array(values, dtype=kind[1])
    out = write_as_qwen2(folder, (kind[0], array.shape, array.tobytes()))
    assert read_blobs(out)[DOWN][2] == (2 * array).astype(kind[1]).tobytes()
    verify_export(out, opened(folder / "source"))


# --- verification -------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source and its export; the weights have zeros of both signs."""
    folder = tmp_path_factory.mktemp("qwen2")
    write_as_qwen2(folder, ("BF16", (4, 3), bytes.fromhex("0080 0000 803f") * 4))
    return folder


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_flipped_bit_is_found(folder: Path, data: st.DataObject) -> None:
    file = folder / "out" / "model.safetensors"
    sound = file.read_bytes()
    tensors = opened(folder / "out").checkpoint.tensors
    tensor = tensors[data.draw(st.sampled_from(sorted(tensors)))]
    raw = bytearray(sound)
    raw[data.draw(st.integers(tensor.start, tensor.end - 1))] ^= 1 << data.draw(
        st.integers(0, 7)
    )
    file.write_bytes(raw)
    try:
        with pytest.raises(VerificationFailed) as caught:
            verify_export(folder / "out", opened(folder / "source"))
    finally:
        file.write_bytes(sound)
    assert caught.value.where == tensor.name


@pytest.mark.parametrize("change", [{"rope_theta": 1.0}, {"rms_norm_eps": 0.5},
                                    {"norm_topk_prob": True}, {"new": 1},
                                    {"num_experts_per_tok": 1}, {"num_experts": 3},
                                    {"mlp_only_layers": [0]}], ids=str)  # fmt: skip
def test_changed_config_is_found(
    folder: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    out = shutil.copytree(folder / "out", tmp_path / "out")
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(EmoPruneError) as caught:
        verify_export(out, opened(folder / "source"))
    assert caught.value.hint


# --- refusals -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("stdmoe", "shared expert"),
        ("emo_gqa_normtopk", "norm_topk_prob"),
        ("emo_alwaysactive", "always-active"),
    ],
)
def test_golden_that_does_not_fit_is_refused(
    goldens: Path, name: str, reason: str
) -> None:
    model = opened(goldens / name)
    kept = range(model.num_experts)
    with pytest.raises(NotExact, match=reason) as caught:
        plan_export(model, selection_of(model, kept), layout="qwen2_moe")
    assert "layout" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"norm_topk_prob": True}, "norm_topk_prob"),
        ({"attention_bias": True}, "attention_bias"),
        ({"num_shared_experts": 0}, "shared expert"),
        ({"num_shared_experts": 2}, "shared expert"),
        ({"always_active_experts": [1]}, "always-active"),
        ({"quantization_config": {"quant_method": "x"}}, "quantised"),
        ({"model_type": "olmoe"}, "model type olmoe"),
        (
            {"rope_theta": None, "num_key_value_heads": None},
            "without num_key_value_heads",
        ),
        ({"rms_norm_eps": None}, "without rms_norm_eps"),
        ({"tie_word_embeddings": None}, "without tie_word_embeddings"),
        ({"intermediate_size": None}, "without intermediate_size"),
    ],
    ids=str,
)
def test_config_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    model = opened(write_checkpoint(tmp_path, CONFIG | changes, emo_blobs()))
    with pytest.raises(NotExact, match=reason):
        plan_export(model, selection_of(model, (1, 4, 6, 7)), layout="qwen2_moe")


def test_config_without_a_rotary_base_is_refused(tmp_path: Path) -> None:
    config = {key: value for key, value in CONFIG.items() if key != "rope_theta"}
    model = opened(write_checkpoint(tmp_path, config, emo_blobs()))
    with pytest.raises(NotExact, match="rope_theta"):
        plan_export(model, selection_of(model, (1, 4, 7)), layout="qwen2_moe")


def test_unknown_tensors_are_refused(tmp_path: Path) -> None:
    name = "model.layers.0.mlp.gate_proj.bias"
    blobs = emo_blobs() | {name: blob("BF16", 3)}
    model = opened(write_checkpoint(tmp_path, CONFIG, blobs))
    with pytest.raises(NotExact, match=name):
        plan_export(model, selection_of(model, (1, 4, 7)), layout="qwen2_moe")


def test_layers_of_different_sizes_are_refused(tmp_path: Path) -> None:
    blobs = {n: b for n, b in emo_blobs().items() if ".layers.1.mlp." not in n}
    blobs |= {
        name: b
        for name, b in moe_blobs(layers=[1], num_experts=4).items()
        if ".mlp." in name
    }
    config = CONFIG | {"num_experts_per_layer": [8, 4]}
    model = opened(write_checkpoint(tmp_path, config, blobs))
    selection = selection_of(model, {0: (1, 2, 3, 4, 7), 1: (0, 1, 2, 3)})
    with pytest.raises(NotExact, match="different numbers"):
        plan_export(model, selection, layout="qwen2_moe")
