"""LoRA by PEFT on a carved model: on the experts' parameters, and on dense layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests.tiny_emoe import carve_folder, dense_model

# PEFT asks by a name that transformers has given up.
pytestmark = [
    pytest.mark.compatibility,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`"),
]

PARAMETERS = {"llama": ["gate_up_proj", "down_proj"], "gpt2": ["c_fc", "c_proj"]}
GATED = ["gate_proj", "up_proj", "down_proj"]
# A carved layer's output bias has the name of the matrix that it was part of.
WITHOUT_BIASES = {"exclude_modules": r".*\.[02]\.mlp\.(down_proj|c_proj)"}


def carved(tmp_path: Path, kind: str, source: str = "gate", **changes: Any) -> Any:
    """A model of three layers, of which the first and the last are carved: 2 of 8."""
    folder = tmp_path / "emoe"
    if not folder.exists():
        dense_model(kind, **changes).save_pretrained(tmp_path / "dense")
        carve_folder(tmp_path / "dense", folder, gate_source=source)
    return AutoModelForCausalLM.from_pretrained(folder)


def adapted(model: Any, **settings: Any) -> Any:
    """The model with adapters that do something."""
    tuned: Any = get_peft_model(model, LoraConfig(r=4, **settings))
    torch.manual_seed(0)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return tuned.eval()


@pytest.mark.parametrize(
    ("kind", "source"),
    [(k, s) for k in PARAMETERS for s in ("gate", "inter")] + [("llama", "up")],
)
def test_the_gate_sees_adapters_on_the_experts(
    tmp_path: Path, tokens: Tensor, kind: str, source: str
) -> None:
    model = carved(tmp_path, kind, source)
    before = model(tokens, output_router_logits=True)
    names = [f"experts.{name}" for name in PARAMETERS[kind]]
    tuned = adapted(model, target_modules=[], target_parameters=names)
    found = tuned(tokens, output_router_logits=True)
    merged = tuned.merge_and_unload()(tokens, output_router_logits=True)
    torch.testing.assert_close(found.logits, merged.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        found.router_logits, merged.router_logits, atol=1e-4, rtol=1e-4
    )
    assert (found.router_logits[0] - before.router_logits[0]).abs().max() > 0.1


@pytest.mark.parametrize("kind", PARAMETERS)
def test_adapters_on_the_experts_are_trained_and_saved(
    tmp_path: Path, tokens: Tensor, kind: str
) -> None:
    names = [f"experts.{name}" for name in PARAMETERS[kind]]
    tuned = adapted(carved(tmp_path, kind), target_modules=[], target_parameters=names)
    out = tuned(tokens, labels=tokens)
    out.loss.backward()
    trained = [p for p in tuned.parameters() if p.requires_grad]
    assert len(trained) == 2 * 2 * 2  # layers, parameters, A and B
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trained)
    tuned.save_pretrained(tmp_path / "adapters")
    again = PeftModel.from_pretrained(carved(tmp_path, kind), tmp_path / "adapters")
    torch.testing.assert_close(again(tokens).logits, out.logits)


@pytest.mark.parametrize(
    ("kind", "changes", "settings", "number"),
    [
        ("llama", {}, {"target_modules": GATED}, 3),
        ("llama", {"mlp_bias": True}, {"target_modules": GATED} | WITHOUT_BIASES, 3),
        ("gpt2", {}, {"target_modules": ["c_attn", "c_proj"]} | WITHOUT_BIASES, 7),
    ],
)
def test_adapters_on_matrices_are_those_of_the_dense_layers(
    tmp_path: Path,
    tokens: Tensor,
    kind: str,
    changes: dict[str, Any],
    settings: dict[str, Any],
    number: int,
) -> None:
    model = carved(tmp_path, kind, **changes)
    tuned = adapted(model, fan_in_fan_out=kind == "gpt2", **settings)
    names = [name for name, _ in tuned.named_parameters() if "lora_A" in name]
    assert len(names) == number
    assert all(".1.mlp." in name for name in names if ".mlp." in name)
    found = tuned(tokens).logits
    merged = tuned.merge_and_unload()(tokens).logits
    torch.testing.assert_close(found, merged, atol=1e-4, rtol=1e-4)
