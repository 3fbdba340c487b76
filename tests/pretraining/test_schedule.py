from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from emo_prune.pretraining import Recipe, for_variant
from emo_prune.pretraining.recipe import lr_factor


@pytest.fixture
def long(recipe: Recipe) -> Recipe:
    step = recipe.tokens_per_step
    return replace(recipe, tokens=100 * step, anneal_tokens=50 * step, warmup_steps=10)


def test_the_rate_rises_falls_and_is_annealed_to_nothing(long: Recipe) -> None:
    factors = [lr_factor(step, long) for step in range(151)]
    assert 0 < factors[0] < factors[9] < factors[10] == 1.0
    assert all(a > b for a, b in pairwise(factors[10:]))
    assert factors[55] == pytest.approx(0.55, abs=1e-9)  # half of the cosine
    assert factors[100] == pytest.approx(0.1)
    assert factors[125] == pytest.approx(0.05)
    assert factors[150] == 0.0


def test_annealing_alone_begins_where_the_cosine_ended(long: Recipe) -> None:
    alone = for_variant(long, "emo-anneal")
    assert alone.main_steps == 0
    for step in range(51):
        assert lr_factor(step, alone) == pytest.approx(lr_factor(100 + step, long))
