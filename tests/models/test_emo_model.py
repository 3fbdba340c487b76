"""The model as transformers uses it: caches, masks, gradients, hooks, pruning."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from emo_prune.models.emo import EmoSparseMoeBlock
from emo_prune.models.routing import route
from tests.tiny_models import checkpoint_activations

pytestmark = pytest.mark.compatibility

MakeEmo = Callable[..., Any]

SHAPES: list[dict[str, Any]] = [
    {},
    {"num_shared_experts": 0, "norm_topk_prob": True, "tie_word_embeddings": True},
    {"num_experts_per_layer": [0, 8, 4], "dense_intermediate_size": 20},
    {"num_shared_experts": 0, "always_active_experts": [2, 5]},
]


@pytest.mark.parametrize("shape", SHAPES)
def test_grouped_mm_equals_eager(
    tiny_emo: MakeEmo, tokens: Tensor, shape: dict[str, Any]
) -> None:
    model = tiny_emo(**shape)
    results = []
    for kernel in ("grouped_mm", "eager"):
        model.set_experts_implementation(kernel)
        results.append(model(tokens).logits)
    torch.testing.assert_close(*results, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_generation_with_cache_equals_without(
    tiny_emo: MakeEmo, tokens: Tensor, shape: dict[str, Any]
) -> None:
    model = tiny_emo(output_router_logits=True, **shape)
    mask = torch.ones_like(tokens)
    mask[1, :3] = 0  # padded on the left, as generation wants
    cached, plain = (
        model.generate(
            tokens,
            attention_mask=mask,
            max_new_tokens=6,
            min_new_tokens=6,
            do_sample=False,
            use_cache=use_cache,
        )
        for use_cache in (True, False)
    )
    assert cached.shape == (2, 18)
    assert torch.equal(cached, plain)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_padding_changes_nothing(
    tiny_emo: MakeEmo, tokens: Tensor, side: str, attention: str
) -> None:
    model = tiny_emo()
    model.set_attn_implementation(attention)
    short, padding = tokens[:1, :8], tokens.new_zeros(1, 4)
    parts = [padding, short] if side == "left" else [short, padding]
    padded = torch.cat(parts, dim=1)
    mask = (padded != 0).long()
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    out = model(padded, attention_mask=mask, position_ids=positions).logits
    torch.testing.assert_close(
        out[mask == 1], model(short).logits[0], atol=1e-5, rtol=0
    )


def test_gradients_reach_the_router_and_the_chosen_experts(
    tiny_emo: MakeEmo, tokens: Tensor
) -> None:
    model = tiny_emo(num_experts=16)
    block = model.model.layers[1].mlp
    seen: list[Tensor] = []
    block.experts.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    model(tokens[:1, :3]).logits.square().mean().backward()
    chosen = set(seen[0].flatten().tolist())
    moved = block.experts.down_proj.grad.abs().sum((1, 2)).nonzero().flatten().tolist()
    assert set(moved) == chosen
    assert 15 in chosen
    assert len(chosen) < 16
    assert block.gate.weight.grad[:15].abs().sum() > 0
    assert block.gate.weight.grad[15].abs().sum() == 0  # always weighs 1


def test_gradient_checkpointing_changes_no_gradient(
    tiny_emo: MakeEmo, tokens: Tensor
) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = tiny_emo().train()
        if checkpointing:
            checkpoint_activations(model)
        model(tokens, labels=tokens, output_router_logits=True).loss.backward()
        gradients.append({n: p.grad for n, p in model.named_parameters()})
    torch.testing.assert_close(*gradients)


def test_hooks_on_the_experts_see_the_true_routing(
    tiny_emo: MakeEmo, tokens: Tensor
) -> None:
    model = tiny_emo()
    calls: list[tuple[Tensor, ...]] = []
    for layer in model.model.layers:
        layer.mlp.experts.register_forward_pre_hook(lambda _, args: calls.append(args))
    out = model(tokens, output_router_logits=True)
    for logits, (hidden, ids, weights) in zip(out.router_logits, calls, strict=True):
        assert hidden.shape == (24, 32)
        expected = route(logits, top_k=3, num_shared_experts=1)
        torch.testing.assert_close((weights, ids), expected)
        assert ids[:, -1].tolist() == [7] * 24


def test_experts_pruned_in_place_equal_masked_logits(
    tiny_emo: MakeEmo, tokens: Tensor
) -> None:
    kept, dropped = [0, 2, 3, 6, 7], [1, 4, 5]

    def mask(router: Any, _: Any, outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        logits = outputs[0].index_fill(1, torch.tensor(dropped), float("-inf"))
        return outputs[0], *route(logits, top_k=router.top_k, num_shared_experts=1)

    masked, pruned = tiny_emo(), tiny_emo()
    for layer in masked.model.layers:
        layer.mlp.gate.register_forward_hook(mask)
    for layer in pruned.model.layers:
        keep_experts(layer.mlp, kept)
    torch.testing.assert_close(
        pruned(tokens).logits, masked(tokens).logits, atol=1e-5, rtol=0
    )


def keep_experts(block: EmoSparseMoeBlock, kept: list[int]) -> None:
    for module, name in [
        (block.gate, "weight"),
        (block.experts, "gate_up_proj"),
        (block.experts, "down_proj"),
    ]:
        setattr(module, name, torch.nn.Parameter(getattr(module, name)[kept]))
    block.gate.num_experts = block.experts.num_experts = len(kept)


def test_hidden_states_and_attentions_are_returned(
    tiny_emo: MakeEmo, tokens: Tensor
) -> None:
    model = tiny_emo()
    model.set_attn_implementation("eager")
    out = model(tokens, output_hidden_states=True, output_attentions=True)
    assert [tuple(h.shape) for h in out.hidden_states] == [(2, 12, 32)] * 4
    assert [tuple(a.shape) for a in out.attentions] == [(2, 4, 12, 12)] * 3
    assert out.router_logits is None


def test_dense_layers_may_have_biases(tiny_emo: MakeEmo, tokens: Tensor) -> None:
    model = tiny_emo(
        num_experts_per_layer=[0, 0, 0], dense_intermediate_size=20, dense_mlp_bias=True
    )
    assert model.model.layers[0].mlp.up_proj.bias.shape == (20,)
    assert model(tokens, output_router_logits=True).aux_loss is None


def test_several_shared_experts_are_warned_of(
    tiny_emo: MakeEmo, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="emo_prune"):
        tiny_emo(num_shared_experts=1)
        assert not caplog.records
        tiny_emo(num_shared_experts=2)
    assert "2 shared experts" in caplog.text
    assert len(caplog.records) == 1


def test_loss_of_the_model_is_cross_entropy(tiny_emo: MakeEmo, tokens: Tensor) -> None:
    out = tiny_emo()(tokens, labels=tokens)
    expected = torch.nn.functional.cross_entropy(
        out.logits[:, :-1].reshape(-1, 50), tokens[:, 1:].reshape(-1)
    )
    torch.testing.assert_close(out.loss, expected)
