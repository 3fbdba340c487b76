"""What is counted is what the model did, token by token."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from emo_prune.architectures import ARCHITECTURES
from emo_prune.errors import CheckpointError, RoutingError
from emo_prune.routing import (
    Batch,
    LayerRouting,
    TokenizedExamples,
    make_batches,
    observe,
    observe_greedy,
    tokenize,
)
from emo_prune.routing.blocks import moe_blocks
from emo_prune.selection.scores import easy_ep, reap
from tests.evaluation.tiny import byte_tokenizer
from tests.tiny_models import MODEL_TYPES, NUM_EXPERTS, VOCABULARY, tiny_model


def examples(count: int = 5) -> TokenizedExamples:
    """Sequences of different lengths, so that batches need padding."""
    generator = np.random.default_rng(0)
    return TokenizedExamples(
        sequences=tuple(
            tuple(generator.integers(0, 256, size=7 + 3 * i).tolist())
            for i in range(count)
        ),
        num_truncated=0,
    )


def run(
    model: Any, model_type: str, *, batch_size: int = 2, outputs: bool = False
) -> list[LayerRouting]:
    batches = make_batches(examples(), batch_size)
    return observe(model, ARCHITECTURES[model_type], batches, outputs=outputs)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_every_token_is_counted_and_no_padding(model_type: str) -> None:
    model = tiny_model(model_type)
    top_k = model.config.num_experts_per_tok
    tokens = examples().num_tokens
    for layer in run(model, model_type):
        assert layer.num_tokens.sum() == tokens
        assert layer.picks.sum() == tokens * top_k
        shared = 1 if model_type == "emo" else 0
        assert layer.mass.sum() == pytest.approx(tokens * (1 + shared), rel=1e-6)


@pytest.mark.compatibility
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_counts_equal_those_of_one_example_at_a_time(model_type: str) -> None:
    model = tiny_model(model_type)
    alone = run(model, model_type, batch_size=1, outputs=True)
    together = run(model, model_type, batch_size=5, outputs=True)
    for first, second in zip(alone, together, strict=True):
        np.testing.assert_array_equal(first.picks, second.picks)
        np.testing.assert_allclose(first.mass, second.mass, atol=1e-4)
        np.testing.assert_allclose(easy_ep(first), easy_ep(second), rtol=1e-4)


def test_halves_are_the_even_and_the_odd_examples() -> None:
    model = tiny_model("olmoe")
    lengths = [len(sequence) for sequence in examples().sequences]
    for layer in run(model, "olmoe"):
        assert list(layer.num_tokens) == [sum(lengths[0::2]), sum(lengths[1::2])]
        np.testing.assert_array_equal(
            layer.half(0).picks + layer.half(1).picks, layer.picks
        )


@pytest.mark.parametrize("model_type", ["olmoe", "mixtral", "emo"])
def test_reap_is_the_mean_weighted_norm_over_an_experts_own_tokens(
    model_type: str,
) -> None:
    model = tiny_model(model_type)
    block = moe_blocks(model, ARCHITECTURES[model_type])[0]
    seen: list[tuple[torch.Tensor, ...]] = []
    handle = block.experts.register_forward_pre_hook(
        lambda _, args: seen.append(tuple(a.detach().clone() for a in args))
    )
    (layer, *_) = run(model, model_type, batch_size=1, outputs=True)
    handle.remove()
    total, count = np.zeros(NUM_EXPERTS), np.zeros(NUM_EXPERTS)
    with torch.no_grad():
        for hidden, picks, weights in seen:
            for token in range(len(hidden)):
                for expert, weight in zip(picks[token], weights[token], strict=True):
                    gate, up = (
                        block.experts.get_parameter("gate_up_proj")[expert]
                        @ hidden[token]
                    ).chunk(2)
                    output = block.experts.get_parameter("down_proj")[expert] @ (
                        torch.nn.functional.silu(gate) * up
                    )
                    total[expert] += float(weight * output.norm())
                    count[expert] += 1
    wanted = np.divide(total, count, out=np.zeros(NUM_EXPERTS), where=count > 0)
    np.testing.assert_allclose(reap(layer), wanted, rtol=1e-4)


def test_a_router_with_nan_is_named_with_its_layer() -> None:
    model = tiny_model("qwen3_moe")
    with torch.no_grad():
        moe_blocks(model, ARCHITECTURES["qwen3_moe"])[1].router.weight[3, 0] = np.nan  # type: ignore[operator]
    with pytest.raises(RoutingError, match="layer 1"):
        run(model, "qwen3_moe")


def test_hooks_are_gone_after_a_failure() -> None:
    model = tiny_model("olmoe")
    block = moe_blocks(model, ARCHITECTURES["olmoe"])[0]
    with torch.no_grad():
        block.router.weight[0, 0] = np.inf  # type: ignore[operator]
    with pytest.raises(RoutingError):
        run(model, "olmoe")
    assert not block.experts._forward_pre_hooks
    assert not block.router._forward_hooks


def test_long_examples_lose_their_beginning_and_are_counted() -> None:
    found = tokenize(["abcdef", "xy"], byte_tokenizer(), max_length=4)
    whole = tokenize(["cdef", "xy"], byte_tokenizer(), max_length=4)
    assert found.sequences == whole.sequences
    assert (found.num_truncated, whole.num_truncated) == (1, 0)


@pytest.mark.parametrize("texts", [["", ""], ["some", ""]])
def test_an_example_without_a_token_is_named(texts: list[str]) -> None:
    position = texts.index("") + 1
    with pytest.raises(RoutingError, match=f"example {position} of 2"):
        tokenize(texts, byte_tokenizer(), max_length=None)


def test_no_examples_are_an_error() -> None:
    with pytest.raises(RoutingError, match="no example"):
        tokenize([], byte_tokenizer(), max_length=None)


def test_token_ids_beyond_the_embedding_are_refused_and_no_others() -> None:
    model = tiny_model("olmoe")

    def batches(largest: int) -> list[Batch]:
        sequences = ((1, 2), (3, largest))
        return make_batches(TokenizedExamples(sequences=sequences, num_truncated=0))

    observe(model, ARCHITECTURES["olmoe"], batches(VOCABULARY - 1))
    foreign = batches(VOCABULARY)
    said = f"id {VOCABULARY}; expected ids below {VOCABULARY}"
    with pytest.raises(CheckpointError, match=said):
        observe(model, ARCHITECTURES["olmoe"], foreign)
    with pytest.raises(CheckpointError, match=said):
        observe_greedy(model, ARCHITECTURES["olmoe"], foreign, lambda _: (0, 1), 2)


def test_batches_hold_every_example_once() -> None:
    tokens = examples()
    for batch_size in (None, 1, 2, 3, 100):
        batches = make_batches(tokens, batch_size)
        lengths = torch.cat([batch.attention_mask.sum(dim=1) for batch in batches])
        assert sorted(lengths.tolist()) == sorted(map(len, tokens.sequences))
