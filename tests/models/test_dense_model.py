"""The dense sibling as transformers uses it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from emo_prune.models import Olmo2NoQKNormPrenormConfig, Olmo2NoQKNormPrenormForCausalLM
from tests.tiny_models import checkpoint_activations

pytestmark = pytest.mark.compatibility


def tiny() -> Any:
    torch.manual_seed(0)
    config = Olmo2NoQKNormPrenormConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        pad_token_id=0,
        eos_token_id=49,
        initializer_range=0.3,
    )
    return Olmo2NoQKNormPrenormForCausalLM(config).eval()


def test_generation_with_cache_equals_without(tokens: Tensor) -> None:
    model = tiny()
    cached, plain = (
        model.generate(tokens, max_new_tokens=6, do_sample=False, use_cache=use_cache)
        for use_cache in (True, False)
    )
    assert torch.equal(cached, plain)


def test_gradients_reach_every_parameter(tokens: Tensor) -> None:
    model = tiny().train()
    checkpoint_activations(model)
    model(tokens, labels=tokens).loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_hidden_states_are_returned(tokens: Tensor) -> None:
    assert len(tiny()(tokens, output_hidden_states=True).hidden_states) == 3
