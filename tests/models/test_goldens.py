"""Logits and routing equal those of the original authors' code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

import emo_prune  # noqa: F401  registers the models

pytestmark = pytest.mark.compatibility

EMO = [
    "emo_shared1",
    "stdmoe",
    "emo_gqa_normtopk",
    "emo_densefirst",
    "emo_alwaysactive",
]


def load(folder: Path, **options: object) -> tuple[torch.nn.Module, dict[str, Tensor]]:
    model = AutoModelForCausalLM.from_pretrained(folder, **options).eval()
    return model, load_file(folder / "expected.safetensors")


@pytest.mark.parametrize("name", EMO)
@pytest.mark.parametrize("experts", ["grouped_mm", "eager"])
def test_emo_logits_and_router_logits_equal_the_goldens(
    goldens: Path, name: str, experts: str
) -> None:
    model, expected = load(goldens / name, experts_implementation=experts)
    with torch.no_grad():
        out = model(
            expected["input_ids"],
            attention_mask=expected["attention_mask"],
            output_router_logits=True,
        )
    real = expected["attention_mask"].bool()
    torch.testing.assert_close(
        out.logits[real], expected["logits"][real], atol=1e-4, rtol=0
    )
    moe_layers = [i for i in range(4) if f"router_logits.{i}" in expected]
    assert len(out.router_logits) == len(moe_layers)
    for logits, layer in zip(out.router_logits, moe_layers, strict=True):
        torch.testing.assert_close(
            logits[real.reshape(-1)],
            expected[f"router_logits.{layer}"][real.reshape(-1)],
            atol=1e-4,
            rtol=0,
        )


def test_dense_logits_equal_the_goldens(goldens: Path) -> None:
    model, expected = load(goldens / "dense_prenorm")
    real = expected["attention_mask"].bool()
    with torch.no_grad():
        out = model(expected["input_ids"], attention_mask=expected["attention_mask"])
    torch.testing.assert_close(
        out.logits[real], expected["logits"][real], atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("name", ["emo_shared1", "emo_densefirst", "dense_prenorm"])
def test_bfloat16_stays_close(goldens: Path, name: str) -> None:
    model, expected = load(goldens / name, dtype=torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    with torch.no_grad():
        out = model(expected["input_ids"], attention_mask=expected["attention_mask"])
    real = expected["attention_mask"].bool()
    off = (out.logits.float() - expected["logits"])[real].abs().mean()
    assert off < 0.03 * expected["logits"][real].abs().mean()
