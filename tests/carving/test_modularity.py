"""How modular a carved model is: measured as the dense model's own activations say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from transformers import AutoModelForCausalLM

from emo_prune import CarvingRecord
from emo_prune.architectures import ARCHITECTURES
from emo_prune.facts import Modularity
from emo_prune.models.carved_layer import EmoeGate
from emo_prune.models.loading import load_model
from emo_prune.routing import Batch
from emo_prune.routing.modularity import measure_modularity
from tests.carving.conftest import Dense, carved
from tests.tiny_checkpoints import read_blobs

IDS = torch.tensor([[5, 17, 200, 3, 9, 77], [65, 66, 0, 0, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0]])
LAST = {"llama": "down_proj", "gpt2": "c_proj"}


def batches() -> list[Batch]:
    rows = range(len(IDS))
    return [
        Batch(input_ids=IDS[[i]], attention_mask=MASK[[i]], half=torch.tensor([0]))
        for i in rows
    ] + [Batch(input_ids=IDS, attention_mask=MASK, half=torch.tensor([0, 1]))]


def measured(folder: Path) -> list[Modularity]:
    return measure_modularity(load_model(folder), ARCHITECTURES["emoe"], batches())


def dense_activations(folder: Path, kind: str) -> dict[int, torch.Tensor]:
    """Return what goes into each layer's last matrix: [valid tokens, neurons]."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    found: dict[int, list[torch.Tensor]] = {}
    stack = model.transformer.h if kind == "gpt2" else model.model.layers
    for index, layer in enumerate(stack):

        def see(_: Any, args: Any, index: int = index) -> None:
            found.setdefault(index, []).append(args[0].flatten(0, 1)[valid])

        getattr(layer.mlp, LAST[kind]).register_forward_pre_hook(see)
    with torch.inference_mode():
        for batch in batches():
            valid = batch.attention_mask.flatten().bool()
            model(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
    return {index: torch.cat(parts) for index, parts in found.items()}


def neurons_of(folder: Path, layer: int) -> torch.Tensor:
    blobs = read_blobs(folder)
    names = (n for n in blobs if n.endswith(".neurons") and f".{layer}.mlp" in n)
    ordered = sorted(names, key=lambda name: int(name.split(".")[-2]))
    rows = [
        torch.frombuffer(bytearray(blobs[n][2]), dtype=torch.int32) for n in ordered
    ]
    return torch.stack(rows).long()


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_energies_are_those_of_the_dense_model_s_activations(
    dense: Dense, tmp_path: Path, kind: str
) -> None:
    carved(dense(kind), tmp_path / "carved", gate="inter", layers="0,2", top_k=3)
    activations = dense_activations(dense(kind), kind)
    for found in measured(tmp_path / "carved"):
        acts = activations[found.layer][:, neurons_of(tmp_path / "carved", found.layer)]
        energy = acts.double().square().sum(-1)
        shares = energy / energy.sum(-1, keepdim=True)
        picked = acts.mean(-1).topk(3).indices
        load = torch.bincount(picked.flatten(), minlength=8) / len(shares)
        assert found.num_tokens == len(shares) == 16
        assert found.picked_energy == pytest.approx(
            float(shares.gather(1, picked).sum(1).mean())
        )
        assert found.best_energy == pytest.approx(
            float(shares.topk(3).values.sum(1).mean())
        )
        assert found.fixed_energy == pytest.approx(
            float(shares.mean(0).topk(3).values.sum())
        )
        assert found.even_energy == 3 / 8
        assert found.load == pytest.approx(load.tolist())


@pytest.mark.parametrize("gate_source", ["gate", "up", "inter"])
def test_all_experts_hold_all_energy(
    dense: Dense, tmp_path: Path, gate_source: str
) -> None:
    carved(dense("qwen3"), tmp_path / "carved", top_k=8, gate=gate_source)
    for layer in measured(tmp_path / "carved"):
        assert layer.load == (1.0,) * 8
        shares = (
            layer.picked_energy,
            layer.best_energy,
            layer.fixed_energy,
            layer.even_energy,
        )
        assert shares == pytest.approx((1.0,) * 4)


def test_the_model_picks_as_before_once_it_is_measured(
    dense: Dense, tmp_path: Path
) -> None:
    carved(dense("llama"), tmp_path / "carved")
    model = load_model(tmp_path / "carved")
    before = model(IDS).logits
    measure_modularity(model, ARCHITECTURES["emoe"], batches())
    assert torch.allclose(model(IDS).logits, before, atol=1e-5)


def test_examples_that_are_measured_choose_nothing(
    dense: Dense, tmp_path: Path
) -> None:
    examples = tmp_path / "examples.jsonl"
    examples.write_text('{"text": "the seventh boat sank"}\n')
    plain = carved(dense("llama"), tmp_path / "plain")
    measured = carved(dense("llama"), tmp_path / "measured", examples=examples)
    assert replace(measured, measured=None) == plain
    assert read_blobs(tmp_path / "measured") == read_blobs(tmp_path / "plain")
    assert CarvingRecord.load(tmp_path / "measured" / "carving.json") == measured
    assert "CarvingRecord(3 of 3 layers of llama into 8 experts, top-2" in repr(plain)
    assert list(plain.to_pandas()["layer"]) == [0, 1, 2]
    assert "picked_energy" in measured.to_pandas()
    assert measured._repr_html_().count("<tr>") == 4


def test_a_gate_is_measured_by_what_it_picks(dense: Dense, tmp_path: Path) -> None:
    class Last(EmoeGate):
        def pick(self, scores: torch.Tensor) -> torch.Tensor:
            last = torch.arange(scores.shape[-1] - self.top_k, scores.shape[-1])
            return last.expand(len(scores), -1)

    carved(dense("llama"), tmp_path / "carved", top_k=3)
    model = load_model(tmp_path / "carved")
    for layer in model.model.layers:
        if hasattr(layer.mlp, "gate"):
            layer.mlp.gate = Last(model.config)
    found = measure_modularity(model, ARCHITECTURES["emoe"], batches())
    assert {layer.load for layer in found} == {(0.0,) * 5 + (1.0,) * 3}
    assert {layer.even_energy for layer in found} == {3 / 8}


def test_the_best_hold_no_less_than_others(dense: Dense, tmp_path: Path) -> None:
    carved(dense("olmo2"), tmp_path / "carved", top_k=3)
    for layer in measured(tmp_path / "carved"):
        assert layer.best_energy >= max(layer.picked_energy, layer.fixed_energy)
        assert layer.fixed_energy >= layer.even_energy
        assert sum(layer.load) == pytest.approx(3)
