"""Metrics of routing, against the definitions in loops."""

from __future__ import annotations

import math

import pytest
import torch

from emo_prune.models.document_pool import (
    PoolRouting,
    number_documents,
    route_by_document,
)
from emo_prune.pretraining.balance import NAMES, routing_metrics

DOCUMENTS = number_documents([[4], [2, 7]], 9)


def routing(seed: int, *, pool: int | None, scale: float = 1.0) -> PoolRouting:
    generator = torch.Generator().manual_seed(seed)
    return route_by_document(
        torch.randn(2, 9, 8, generator=generator),
        scale * torch.randn(11, 8, generator=generator),
        DOCUMENTS,
        None if pool is None else torch.full((5,), pool),
        top_k=4,
        num_shared_experts=1,
    )


def measured(*routings: PoolRouting) -> dict[str, float]:
    values = routing_metrics(routings, DOCUMENTS).tolist()
    return dict(zip(NAMES, values, strict=True))


@pytest.mark.parametrize("pool", [None, 5])
def test_metrics_are_those_of_the_definition(pool: int | None) -> None:
    one = routing(0, pool=pool)
    owners = DOCUMENTS.flatten().tolist()
    rows = one.probabilities.flatten(0, 1).tolist()
    picks = one.indices[..., :-1].flatten(0, 1).tolist()

    def entropy(row: list[float]) -> float:
        return -sum(p * math.log(p) for p in row if p > 0)

    def of(document: int) -> list[list[float]]:
        return [
            row for row, owner in zip(rows, owners, strict=True) if owner == document
        ]

    means = [[sum(column) / len(of(d)) for column in zip(*of(d))] for d in range(5)]  # noqa: B905
    used = [
        {
            i
            for pick, owner in zip(picks, owners, strict=True)
            if owner == d
            for i in pick
        }
        for d in range(5)
    ]
    got = measured(one)
    assert got["token_entropy"] == pytest.approx(sum(map(entropy, rows)) / 18, rel=1e-5)
    assert got["document_entropy"] == pytest.approx(
        sum(map(entropy, means)) / 5, rel=1e-5
    )
    assert got["experts_per_document"] == pytest.approx(sum(map(len, used)) / 5)
    assert got["largest_share"] == pytest.approx(
        one.counts[:10].max().item() * 10 / (18 * 3)
    )


def test_layers_are_averaged() -> None:
    one, two = routing(0, pool=5), routing(1, pool=3)
    both = measured(one, two)
    for name in NAMES:
        mean = (measured(one)[name] + measured(two)[name]) / 2
        assert both[name] == pytest.approx(mean, rel=1e-5)


def test_an_even_router_has_the_entropy_of_its_experts() -> None:
    got = measured(routing(0, pool=None, scale=0.0))
    assert got["token_entropy"] == pytest.approx(math.log(10))
    assert got["document_entropy"] == pytest.approx(math.log(10))
    assert got["load_balancing_loss"] == pytest.approx(1.0)
