"""The native EMO model, routed by documents as in pretraining."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from emo_prune.models import EmoConfig, EmoForCausalLM
from emo_prune.models.document_pool import PackedDocuments, number_documents
from tests.tiny_models import checkpoint_activations

pytestmark = pytest.mark.compatibility

LAYERS = 2
IDS = torch.randint(0, 50, (2, 12), generator=torch.Generator().manual_seed(0))
DOCUMENTS = number_documents([[5], [3, 8]], 12)


@pytest.fixture
def model() -> EmoForCausalLM:
    torch.manual_seed(1)
    return EmoForCausalLM(
        EmoConfig(
            vocab_size=50,
            hidden_size=32,
            intermediate_size=16,
            num_hidden_layers=LAYERS,
            num_attention_heads=2,
            num_experts=9,
            num_shared_experts=1,
            num_experts_per_tok=3,
            initializer_range=0.3,
            pad_token_id=0,
        )
    )


def gradients(
    model: EmoForCausalLM, sizes: Tensor | None
) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    packed = PackedDocuments(DOCUMENTS, sizes)
    logits = model(IDS, use_cache=False, packed_documents=packed).logits
    losses = [routing.load_balancing_loss for routing in packed.routings.values()]
    loss = logits.logsumexp(-1).mean() - logits[..., 7].mean() + sum(losses)
    loss.backward()
    found = {
        name: parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return logits.detach(), found


@pytest.mark.parametrize("size", [8, 9, 100])
def test_pools_of_all_experts_train_a_standard_moe_gradient_for_gradient(
    model: EmoForCausalLM, size: int
) -> None:
    logits, standard = gradients(model, None)
    sizes = torch.full((LAYERS, 5), size)
    pooled_logits, pooled = gradients(model, sizes)
    assert pooled_logits.equal(logits)
    assert set(pooled) == set(standard)
    for name, gradient in standard.items():
        assert pooled[name].equal(gradient), name


def test_without_pools_training_routes_as_inference_does(model: EmoForCausalLM) -> None:
    trained, _ = gradients(model, None)
    torch.testing.assert_close(model(IDS).logits, trained)


def test_small_pools_change_the_function(model: EmoForCausalLM) -> None:
    full, _ = gradients(model, None)
    small, _ = gradients(model, torch.full((LAYERS, 5), 2))
    assert (full - small).abs().max() > 1e-3


def test_each_layer_has_pools_of_its_own(model: EmoForCausalLM) -> None:
    sizes = torch.tensor([[2, 3, 4, 5, 6], [6, 5, 4, 3, 2]])
    packed = PackedDocuments(DOCUMENTS, sizes)
    model(IDS, use_cache=False, packed_documents=packed)
    for layer, want in enumerate(sizes):
        pool = packed.routings[layer].pool
        assert pool is not None
        assert pool.sum(dim=-1).equal(want)


def test_checkpointed_activations_give_the_same_gradients(
    model: EmoForCausalLM,
) -> None:
    sizes = torch.full((LAYERS, 5), 4)
    _, plain = gradients(model, sizes)
    model.train()
    checkpoint_activations(model)
    _, checkpointed = gradients(model, sizes)
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient)
