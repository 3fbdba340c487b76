"""The load-balancing loss against loops over tokens and experts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from emo_prune.models.routing import load_balancing_loss


@dataclass
class Sizes:
    top_k: int
    num_shared_experts: int = 0
    always_active_experts: tuple[int, ...] = ()


def by_hand(logits: Tensor, sizes: Sizes, keep: list[bool]) -> float:
    """Follow the definition, one token and one expert at a time."""
    active = sizes.always_active_experts
    width = logits.shape[1] - (0 if active else sizes.num_shared_experts)
    competing = [e for e in range(width) if e not in active]
    k = sizes.top_k - (len(active) or sizes.num_shared_experts)
    counts = dict.fromkeys(competing, 0)
    sums = dict.fromkeys(competing, 0.0)
    for row, kept in zip(logits.double(), keep, strict=True):
        if kept:
            probabilities = row[:width].softmax(-1).tolist()
            for e in sorted(competing, key=lambda e: -probabilities[e])[:k]:
                counts[e] += 1
            for e in competing:
                sums[e] += probabilities[e]
    n = sum(keep)
    product = sum(counts[e] * sums[e] / n for e in competing)
    return product * len(competing) / (k * n)


SIZES = [Sizes(3), Sizes(3, 1), Sizes(4, 2), Sizes(4, 0, (1, 5))]


@pytest.mark.parametrize("sizes", SIZES)
def test_loss_follows_the_definition(sizes: Sizes) -> None:
    torch.manual_seed(1)
    logits = torch.randn(20, 8) * 2
    keep = [i % 3 != 0 for i in range(20)]
    loss = load_balancing_loss([logits], [sizes], token_mask=torch.tensor(keep))
    assert loss.item() == pytest.approx(by_hand(logits, sizes, keep))


def test_layers_of_different_widths_are_averaged() -> None:
    torch.manual_seed(2)
    logits = [torch.randn(10, 8), torch.randn(10, 5)]
    sizes = [Sizes(3, 1), Sizes(3, 1)]
    keep = [True] * 10
    expected = sum(by_hand(x, s, keep) for x, s in zip(logits, sizes, strict=True)) / 2
    assert load_balancing_loss(logits, sizes).item() == pytest.approx(expected)


def test_accumulated_parts_add_up_over_the_whole_batch() -> None:
    logits = torch.randn(12, 6)
    whole = load_balancing_loss([logits], [Sizes(2)])
    half = load_balancing_loss([logits], [Sizes(2)], num_items_in_batch=24)
    torch.testing.assert_close(half * 2, whole)


def test_router_without_choice_costs_nothing() -> None:
    assert load_balancing_loss([torch.randn(4, 2)], [Sizes(2, 2)]).item() == 0


def test_batch_of_padding_costs_nothing() -> None:
    mask = torch.zeros(4, dtype=torch.bool)
    assert load_balancing_loss([torch.randn(4, 5)], [Sizes(2)], token_mask=mask) == 0


def test_model_counts_tokens_that_are_labelled_and_not_padding(
    tiny_emo: Callable[..., Any], tokens: Tensor
) -> None:
    model = tiny_emo(num_experts_per_layer=[0, 8, 5], dense_intermediate_size=24)
    mask = torch.ones_like(tokens)
    mask[1, :4] = 0
    labels = tokens.clone()
    labels[0, :6] = -100
    out = model(tokens, attention_mask=mask, labels=labels, output_router_logits=True)
    keep = ((mask == 1) & (labels != -100)).reshape(-1).tolist()
    assert len(out.router_logits) == 2
    expected = sum(by_hand(x, Sizes(3, 1), keep) for x in out.router_logits) / 2
    assert out.aux_loss.item() == pytest.approx(expected)

    alone = model(tokens, attention_mask=mask, labels=labels)
    assert alone.aux_loss is None
    assert out.loss.item() == pytest.approx(alone.loss.item() + 0.01 * expected)
