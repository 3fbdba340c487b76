"""The original authors' scores and choices, from their own scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from emo_prune.architectures.opening import open_model
from emo_prune.models.loading import load_model
from emo_prune.routing import (
    Batch,
    LayerRouting,
    TokenizedExamples,
    make_batches,
    observe,
    observe_greedy,
)
from emo_prune.selection import Limits, choose_layer, parse_keep, resolve_budget
from emo_prune.selection.scores import easy_ep, probability

SELECTABLE = ("emo_shared1", "stdmoe", "emo_gqa_normtopk", "emo_densefirst")


class Golden:
    """One golden checkpoint, its prompts and what the authors computed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.expected: dict[str, Any] = json.loads(
            (folder / "expected.json").read_text()
        )
        self.tensors = load_file(folder / "expected.safetensors")
        self.described = open_model(str(folder))

    @property
    def batches(self) -> list[Batch]:
        rows = zip(
            self.tensors["input_ids"], self.tensors["attention_mask"], strict=True
        )
        sequences = tuple(tuple(ids[mask.bool()].tolist()) for ids, mask in rows)
        examples = TokenizedExamples(sequences=sequences, num_truncated=0)
        return make_batches(examples, batch_size=3)

    def model(self) -> Any:
        return load_model(self.folder, device="cpu", dtype="float32")


@pytest.fixture(scope="module", params=SELECTABLE)
def golden(goldens: Path, request: pytest.FixtureRequest) -> Golden:
    return Golden(goldens / request.param)


def _layers(per_layer: list[Any]) -> list[Any]:
    return [layer for layer in per_layer if layer is not None]


def test_mean_router_probabilities_equal_the_authors(golden: Golden) -> None:
    routing = observe(golden.model(), golden.described.architecture, golden.batches)
    if "avg_router_probabilities" in golden.expected:
        wanted = _layers(golden.expected["avg_router_probabilities"])
    else:  # nothing is pruned yet before the first layer with experts
        greedy = golden.expected["layerwise"]["8"]["avg_probs_per_layer"]
        wanted, routing = _layers(greedy)[:1], routing[:1]
    for layer, expected in zip(routing, wanted, strict=True):
        np.testing.assert_allclose(probability(layer), expected, atol=1e-6)


def test_easy_ep_scores_equal_the_authors(golden: Golden) -> None:
    routing = observe(
        golden.model(), golden.described.architecture, golden.batches, outputs=True
    )
    wanted = _layers(golden.expected["easy_ep"]["scores_per_layer"])
    for layer, expected in zip(routing, wanted, strict=True):
        np.testing.assert_allclose(easy_ep(layer), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("keep", ["4", "6", "8"])
def test_greedy_choice_and_scores_equal_the_authors(golden: Golden, keep: str) -> None:
    limits = Limits.of(golden.described)
    budget = resolve_budget(parse_keep(keep), limits)
    kept: list[list[int]] = []

    def choose(layer: LayerRouting) -> tuple[int, ...]:
        chosen = choose_layer(layer, limits, budget, score="probability")
        kept.append(list(chosen.kept))
        return chosen.kept

    model = golden.model()
    routing = observe_greedy(
        model, golden.described.architecture, golden.batches, choose, budget.top_k
    )
    expected = golden.expected["layerwise"][keep]
    assert kept == _layers(expected["experts_kept_per_layer"])
    for layer, scores in zip(
        routing, _layers(expected["avg_probs_per_layer"]), strict=True
    ):
        np.testing.assert_allclose(probability(layer), scores, atol=1e-5)
    with torch.inference_mode():
        logits = model(
            input_ids=golden.tensors["input_ids"],
            attention_mask=golden.tensors["attention_mask"],
        ).logits
    valid = golden.tensors["attention_mask"].bool()
    torch.testing.assert_close(
        logits[valid],
        golden.tensors[f"layerwise.{keep}.logits"][valid],
        rtol=0,
        atol=1e-4,
    )
