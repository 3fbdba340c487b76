"""Routing against the definition, computed by hand in float64."""

from __future__ import annotations

import math

import pytest
import torch

from emo_prune.models.routing import route

LOGITS = torch.tensor([[1.0, 3.0, 2.0, -1.0, 0.5], [0.0, -2.0, 4.0, 1.0, 9.0]])


def test_plain_top_k_keeps_probabilities_unnormalised() -> None:
    weights, ids = route(LOGITS, top_k=2)
    assert ids.tolist() == [[1, 2], [4, 2]]
    total = sum(math.exp(x) for x in LOGITS[0].tolist())
    assert weights[0].tolist() == pytest.approx(
        [math.exp(3) / total, math.exp(2) / total]
    )


def test_norm_topk_prob_makes_weights_sum_to_one() -> None:
    weights, _ = route(LOGITS, top_k=3, norm_topk_prob=True)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2))


def test_one_shared_expert_weighs_one_and_takes_no_probability() -> None:
    weights, ids = route(LOGITS, top_k=3, num_shared_experts=1)
    assert ids.tolist() == [[1, 2, 4], [2, 3, 4]]
    assert weights[:, -1].tolist() == [1.0, 1.0]
    routed = LOGITS[:, :4].softmax(-1)
    torch.testing.assert_close(weights[:, :2], routed.gather(-1, ids[:, :2]))


def test_several_shared_experts_share_a_softmax() -> None:
    weights, ids = route(LOGITS, top_k=3, num_shared_experts=2)
    assert ids[:, 1:].tolist() == [[3, 4], [3, 4]]
    torch.testing.assert_close(weights[:, 1:], LOGITS[:, 3:].softmax(-1))


def test_always_active_experts_keep_their_part_of_one_softmax() -> None:
    weights, ids = route(LOGITS, top_k=3, always_active_experts=(3, 0))
    assert ids.tolist() == [[1, 3, 0], [4, 3, 0]]
    torch.testing.assert_close(weights, LOGITS.softmax(-1).gather(-1, ids))


def test_always_active_experts_leave_no_shared_ones_apart() -> None:
    alone = route(LOGITS, top_k=3, always_active_experts=(3,))
    both = route(LOGITS, top_k=3, always_active_experts=(3,), num_shared_experts=1)
    torch.testing.assert_close(both, alone)


def test_only_shared_experts_can_be_left() -> None:
    weights, ids = route(LOGITS[:, :1], top_k=1, num_shared_experts=1)
    assert (weights.tolist(), ids.tolist()) == ([[1.0], [1.0]], [[0], [0]])


def test_softmax_is_float32_whatever_the_logits() -> None:
    weights, ids = route(LOGITS.bfloat16(), top_k=3, num_shared_experts=1)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(
        weights[:, :2],
        LOGITS.bfloat16().float()[:, :4].softmax(-1).gather(-1, ids[:, :2]),
    )
