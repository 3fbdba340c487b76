"""Carved and put together: the same bytes, whatever the family and the files."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from emo_prune import restore
from emo_prune.architectures import inspect_model
from emo_prune.exports import plan_export, write_export
from tests.carving.conftest import (
    KINDS,
    WIDTH,
    Blobs,
    Config,
    Dense,
    carved,
    edited,
)
from tests.tiny_checkpoints import Blob, opened, read_blobs, selection_of

TYPES = {"F32": np.uint32, "F16": np.uint16, "BF16": np.uint16, "I32": np.int32}


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "carved"


def array(blob: Blob) -> Any:
    dtype, shape, data = blob
    return np.frombuffer(data, TYPES[dtype]).reshape(shape)


def restored(carving: Path, destination: Path, **options: Any) -> Path:
    restore(carving, dense=True, output=destination, **options)
    return destination


def config(folder: Path) -> Any:
    return json.loads((folder / "config.json").read_text())


def logits(folder: Path, **changes: Any) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder, **changes).float()
    tokens = torch.arange(24).reshape(2, 12) * 7 % 250
    with torch.inference_mode():
        found: torch.Tensor = model(tokens).logits
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", ["all", "0-2:2"])
def test_put_together_it_is_the_source_bit_for_bit(
    dense: Dense, there: Path, tmp_path: Path, kind: str, layers: str
) -> None:
    source = dense(kind)
    carved(source, there, layers=layers)
    back = restored(there, tmp_path / "back")
    assert read_blobs(back) == read_blobs(source)
    assert config(back) == config(source)
    weights = ("model", "config.json")
    others = [f.name for f in source.iterdir() if not f.name.startswith(weights)]
    assert {f.name for f in back.iterdir() if not f.name.startswith(weights)} == {
        *others
    }
    for name in others:
        assert (back / name).read_bytes() == (source / name).read_bytes()


def test_of_one_file_the_file_itself_comes_back(
    dense: Dense, there: Path, tmp_path: Path
) -> None:
    carved(dense("llama"), there)
    back = restored(there, tmp_path / "back")
    file = "model.safetensors"
    assert (back / file).read_bytes() == (dense("llama") / file).read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_experts_are_cuts_of_the_matrices_and_the_rest_is_untouched(
    dense: Dense, there: Path, kind: str
) -> None:
    carved(dense(kind), there, layers="0,2")
    before, after = read_blobs(dense(kind)), read_blobs(there)
    cut = {name: blob for name, blob in after.items() if ".experts." in name}
    whole = {name: blob for name, blob in after.items() if ".experts." not in name}
    assert whole.items() <= before.items()
    seen = set()
    for name, blob in cut.items():
        stem, _, rest = name.partition("experts.")
        expert, _, part = rest.partition(".")
        neurons = array(after[f"{stem}experts.{expert}.neurons"])
        assert list(neurons) == sorted(neurons)
        if part == "neurons":
            continue
        source = before[stem + part]
        seen.add(stem + part)
        axis = source[1].index(WIDTH)
        assert np.array_equal(array(blob), np.take(array(source), neurons, axis))
        assert blob[0] == source[0]
    assert whole.keys() | seen == before.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_experts_are_numbered_by_their_smallest_neuron(
    dense: Dense, there: Path, kind: str
) -> None:
    carved(dense(kind), there, layers="1")
    found = {
        int(name.split(".")[-2]): array(blob)
        for name, blob in read_blobs(there).items()
        if name.endswith(".neurons")
    }
    firsts = [found[expert].min() for expert in range(8)]
    assert firsts == sorted(firsts)
    everything = np.sort(np.concatenate(list(found.values())))
    assert np.array_equal(everything, np.arange(WIDTH))


@pytest.mark.compatibility
@pytest.mark.parametrize("kind", KINDS)
def test_with_all_experts_it_computes_what_the_dense_model_does(
    dense: Dense, there: Path, kind: str
) -> None:
    carved(dense(kind), there)
    expected = logits(dense(kind))
    found = logits(there, num_experts_per_tok=8)
    tolerance = 0.05 if "float16" in kind else 1e-4
    assert torch.allclose(found, expected, atol=tolerance, rtol=tolerance)
    assert not torch.allclose(logits(there), expected, atol=tolerance)


def test_a_checkpoint_that_transformers_saved_again_is_put_together(
    dense: Dense, there: Path, tmp_path: Path
) -> None:
    carved(dense("llama"), there)
    model = AutoModelForCausalLM.from_pretrained(there)
    model.save_pretrained(tmp_path / "saved")
    back = restored(tmp_path / "saved", tmp_path / "back")
    assert read_blobs(back) == read_blobs(dense("llama"))
    assert torch.equal(logits(back), logits(dense("llama")))


@pytest.mark.parametrize("kind", ["llama", "llama in shards"])
def test_small_shards_hold_the_same_tensors(
    dense: Dense, there: Path, tmp_path: Path, kind: str
) -> None:
    carved(dense(kind), there)
    carved(dense(kind), tmp_path / "small", max_shard_size=10_000)
    assert len(list((tmp_path / "small").glob("*.safetensors"))) > 5
    assert read_blobs(tmp_path / "small") == read_blobs(there)
    back = restored(tmp_path / "small", tmp_path / "back", max_shard_size=10_000)
    assert len(list(back.glob("*.safetensors"))) > 5
    assert read_blobs(back) == read_blobs(dense(kind))


def test_a_gpt2_that_names_no_width_has_four_times_its_own(
    dense: Dense, there: Path, tmp_path: Path
) -> None:
    def widen(config: Config, blobs: Blobs) -> None:
        config["n_inner"] = None
        for name in [name for name in blobs if ".mlp.c_" in name]:
            dtype, shape, data = blobs[name]
            twice = [2 * n if n == WIDTH else n for n in shape]
            if twice != list(shape):
                blobs[name] = (dtype, tuple(twice), 2 * data)

    source = edited(dense("gpt2"), tmp_path / "source", widen)
    assert carved(source, there).expert_size == 4 * 32 // 8
    expected, found = logits(source), logits(there, num_experts_per_tok=8)
    assert torch.allclose(found, expected, atol=1e-3, rtol=1e-3)


def test_buffers_of_early_releases_are_kept_and_are_no_parameters(
    dense: Dense, there: Path, tmp_path: Path
) -> None:
    def store(_: Config, blobs: Blobs) -> None:
        for layer in range(3):
            stem = f"transformer.h.{layer}.attn"
            blobs[f"{stem}.bias"] = ("F32", (1, 1, 16, 16), bytes(4 * 256))
            blobs[f"{stem}.masked_bias"] = ("F32", (), bytes(4))

    source = edited(dense("gpt2"), tmp_path / "source", store)
    record = carved(source, there)
    parameters = AutoModelForCausalLM.from_pretrained(source).num_parameters()
    assert record.dense_num_parameters == record.num_parameters == parameters
    assert inspect_model(opened(there)).num_parameters == parameters
    back = restored(there, tmp_path / "back")
    assert read_blobs(back) == read_blobs(source)


def test_frequencies_of_early_llamas_are_no_parameters(
    dense: Dense, there: Path, tmp_path: Path
) -> None:
    def store(_: Config, blobs: Blobs) -> None:
        name = "model.layers.1.self_attn.rotary_emb.inv_freq"
        blobs[name] = ("F32", (4,), bytes(16))

    source = edited(dense("llama with biases"), tmp_path / "source", store)
    record = carved(source, there)
    parameters = AutoModelForCausalLM.from_pretrained(source).num_parameters()
    assert record.dense_num_parameters == record.num_parameters == parameters


@pytest.mark.parametrize("cards", [(), ("README.md",), ("README.source.md",),
                                   ("README.md", "README.source.md")])  # fmt: skip
def test_a_card_comes_back_under_its_name_and_no_other_does(
    dense: Dense, tmp_path: Path, cards: tuple[str, ...]
) -> None:
    source = tmp_path / "source"
    shutil.copytree(dense("llama"), source)
    (source / "README.md").unlink()
    for card in cards:
        (source / card).write_text(f"{card} of the dense model")
    carved(source, tmp_path / "carved")
    model = opened(tmp_path / "carved")
    write_export(
        plan_export(model, selection_of(model, range(8))), tmp_path / "exported"
    )
    for name in ("carved", "exported"):
        back = tmp_path / f"{name}-back"
        restored(tmp_path / name, back)
        found = {file.name: file.read_text() for file in back.glob("README*")}
        # Of two, the name that ours takes is gone: carving.json says so.
        kept = cards[-1:]
        assert found == {card: f"{card} of the dense model" for card in kept}


@pytest.mark.parametrize(
    "copied",
    [None, [], 1, {"../escaped": "README.source.md"}, {"/tmp/x": "tokenizer.json"},
     {"README.md": ["README.source.md"]}, {"config.json": "tokenizer.json"}],
)  # fmt: skip
def test_no_file_goes_anywhere_because_carving_json_says_so(
    dense: Dense, tmp_path: Path, copied: object
) -> None:
    carved(dense("llama"), tmp_path / "carved")
    file = tmp_path / "carved" / "carving.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"copied": copied}))
    before = {path.name for path in tmp_path.iterdir()}
    back = tmp_path / "back"
    restored(tmp_path / "carved", back)
    names = {path.name for path in dense("llama").iterdir()} - {"README.md"}
    assert {path.name for path in back.iterdir()} == names
    assert {path.name for path in tmp_path.iterdir()} == before | {"back"}


def test_the_config_comes_back_in_its_bytes_whatever_the_language(
    dense: Dense, tmp_path: Path
) -> None:
    config = AutoConfig.from_pretrained(dense("llama"), id2label={0: "\u597d"})
    source = tmp_path / "source"
    shutil.copytree(dense("llama"), source)
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(source)
    carved(source, tmp_path / "carved")
    restored(tmp_path / "carved", tmp_path / "back")
    before = (source / "config.json").read_bytes()
    assert "597d" in before.decode()
    assert (tmp_path / "back" / "config.json").read_bytes() == before


def test_the_card_says_what_it_is_and_keeps_the_source_s(
    dense: Dense, there: Path
) -> None:
    record = carved(dense("qwen2"), there, top_k=3)
    card = (there / "README.md").read_text()
    assert "carved into 8 experts" in card
    number = sum(
        math.prod(shape) for _, shape, _ in read_blobs(dense("qwen2")).values()
    )
    assert f"| parameters | {number:,} |" in card
    assert f"| parameters of the source | {number:,} |" in card
    assert record.model.fingerprint in card
    assert (there / "README.source.md").read_text() == "the card of the dense model\n"
