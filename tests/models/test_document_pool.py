"""Pools of experts by document: the authors' router, and the definition in loops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from emo_prune.models.document_pool import (
    PoolRouting,
    document_pools,
    number_documents,
    route_by_document,
)
from emo_prune.models.routing import route

SIZES = (3, 5, 8, 12, 15)


class Golden:
    """The authors' training router on three packed sequences."""

    def __init__(self, folder: Path) -> None:
        self.tensors = load_file(folder / "expected.safetensors")
        self.facts: dict[str, Any] = json.loads((folder / "expected.json").read_text())
        self.hidden = self.tensors["hidden"].requires_grad_()
        self.router = self.tensors["router_weight"].requires_grad_()

    def route(self, pool_size: int) -> PoolRouting:
        length = self.hidden.shape[1]
        return route_by_document(
            self.hidden,
            self.router,
            number_documents(self.facts["document_ends"], length),
            pool_size,
            top_k=self.facts["top_k"],
            num_shared_experts=self.facts["num_shared_experts"],
        )

    def gradients(self, loss: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(loss, (self.hidden, self.router))


@pytest.fixture
def golden(goldens: Path) -> Golden:
    return Golden(goldens / "pool_router")


def close(got: Tensor, want: Tensor) -> None:
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_weights_indices_and_counts_equal_the_authors(
    golden: Golden, size: int
) -> None:
    routing = golden.route(size)
    close(routing.weights, golden.tensors[f"pool{size}.weights"])
    assert routing.indices.equal(golden.tensors[f"pool{size}.indices"])
    assert routing.counts.equal(golden.tensors[f"pool{size}.counts"])


@pytest.mark.parametrize("size", SIZES)
def test_losses_and_gradients_equal_the_authors(golden: Golden, size: int) -> None:
    routing = golden.route(size)
    case = golden.facts["cases"][SIZES.index(size)]
    balance = golden.facts["lb_loss_weight"] * routing.load_balancing_loss
    z_loss = golden.facts["z_loss_weight"] * routing.z_loss
    assert balance.item() == pytest.approx(case["lb_loss_scaled"], rel=1e-5)
    assert z_loss.item() == pytest.approx(case["z_loss_scaled"], rel=1e-5)
    for name, got in zip(
        ("hidden", "router"), golden.gradients(balance + z_loss), strict=True
    ):
        close(got, golden.tensors[f"pool{size}.aux_grad_{name}"])
    routing = golden.route(size)
    probed = (routing.weights * golden.tensors["probe"]).sum()
    for name, got in zip(("hidden", "router"), golden.gradients(probed), strict=True):
        close(got, golden.tensors[f"pool{size}.probe_grad_{name}"])


@pytest.mark.parametrize("size", [15, 16, 100, None])
def test_a_pool_of_all_experts_is_a_standard_router_gradient_for_gradient(
    size: int | None,
) -> None:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(2, 9, 8, generator=generator).requires_grad_()
    router = torch.randn(16, 8, generator=generator).requires_grad_()
    documents = number_documents([[4], [2, 7]], 9)
    pooled = route_by_document(
        hidden, router, documents, size, top_k=4, num_shared_experts=1
    )
    weights, indices = route(hidden @ router.T, top_k=4, num_shared_experts=1)
    assert pooled.indices.equal(indices)
    assert pooled.weights.equal(weights)
    probe = torch.randn(weights.shape, generator=generator)
    for got, want in zip(
        torch.autograd.grad((pooled.weights * probe).sum(), (hidden, router)),
        torch.autograd.grad((weights * probe).sum(), (hidden, router)),
        strict=True,
    ):
        close(got, want)


def pools_in_loops(logits: Tensor, documents: Tensor, sizes: Tensor) -> Tensor:
    """The definition: one document after the other."""
    flat, owners = logits.flatten(0, 1), documents.flatten()
    pools = torch.zeros(len(sizes), logits.shape[-1], dtype=torch.bool)
    for document, size in enumerate(sizes.tolist()):
        mean = flat[owners == document].softmax(dim=-1).mean(dim=0)
        pools[document, mean.topk(min(size, len(mean))).indices] = True
    return pools


@settings(deadline=None, max_examples=60)
@given(
    ends=st.lists(st.sets(st.integers(1, 11)).map(sorted), min_size=1, max_size=4),
    seed=st.integers(0, 2**16),
)
def test_pools_of_any_documents_and_sizes_follow_the_definition(
    ends: list[list[int]], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    documents = number_documents(ends, 12)
    logits = torch.randn(len(ends), 12, 7, generator=generator, dtype=torch.float32)
    count = int(documents.max()) + 1
    sizes = torch.randint(1, 10, (count,), generator=generator)
    pools = document_pools(logits, documents, sizes)
    assert pools.equal(pools_in_loops(logits, documents, sizes))
    assert pools.sum(dim=-1).equal(sizes.clamp(max=7))


def test_tokens_use_the_experts_of_their_own_document_alone() -> None:
    generator = torch.Generator().manual_seed(2)
    documents = number_documents([[5], [3, 8]], 10)
    routing = route_by_document(
        torch.randn(2, 10, 8, generator=generator),
        torch.randn(12, 8, generator=generator),
        documents,
        torch.tensor([3, 4, 5, 3, 11]),
        top_k=4,
        num_shared_experts=1,
    )
    routed = routing.indices[..., :-1]
    assert routing.pool is not None
    assert routing.pool[documents].gather(-1, routed).all()
    assert (routing.indices[..., -1] == 11).all()
    assert (routing.weights[..., -1] == 1).all()


@pytest.mark.parametrize(
    ("ends", "want"),
    [
        ([[2, 4]], [[0, 0, 1, 1]]),
        ([[2]], [[0, 0, 1, 1]]),  # cut by the window: a document of its own
        ([[], [1]], [[0, 0, 0, 0], [1, 2, 2, 2]]),
    ],
)
def test_documents_are_numbered_through_the_batch(
    ends: list[list[int]], want: list[list[int]]
) -> None:
    assert number_documents(ends, 4).tolist() == want


def test_counts_of_all_ranks_balance_the_experts() -> None:
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(4, 6, 8, generator=generator)
    router = torch.randn(9, 8, generator=generator)
    documents = number_documents([[3]] * 4, 6)
    size = torch.full((8,), 4)
    keywords: dict[str, Any] = {"top_k": 3, "num_shared_experts": 1}
    whole = route_by_document(hidden, router, documents, size, **keywords)

    def all_of_it(counted: Tensor) -> Tensor:
        assert counted[-1] == 12  # the tokens of this rank
        return torch.cat([whole.counts[:8], torch.tensor([24])])

    halves = [
        route_by_document(
            hidden[part], router, documents[:2], size[:4], reduce=all_of_it, **keywords
        ).load_balancing_loss
        for part in (slice(0, 2), slice(2, 4))
    ]
    close(torch.stack(halves).mean(), whole.load_balancing_loss)
