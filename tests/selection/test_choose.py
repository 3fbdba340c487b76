"""The choice of experts, against a slow reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from emo_prune.errors import RoutingError, SelectionError
from emo_prune.routing import LayerRouting
from emo_prune.selection import (
    Budget,
    Limits,
    choose_layer,
    parse_keep,
    score_names,
)

from .test_budget import limits

EXPERTS = 8
SCORE_NAMES = score_names()


def routing_of(picks: Any, mass: Any, **more: Any) -> LayerRouting:
    return LayerRouting(
        layer=0,
        num_tokens=np.array([5, 5]),
        picks=np.array(picks, dtype=np.int64),
        mass=np.array(mass, dtype=np.float64),
        **more,
    )


def budget(num_experts: int) -> Budget:
    return Budget(keep=parse_keep("1"), num_experts=num_experts, top_k=2)


# Few distinct values, so that there are ties; sums of these floats are exact.
PICKS = arrays.arrays(np.int64, (2, EXPERTS), elements=st.integers(0, 3))
SUMS = arrays.arrays(np.float64, (2, EXPERTS), elements=st.sampled_from([0, 0.5, 2.0]))
ROUTING = st.builds(routing_of, PICKS, SUMS, weighted_norms=SUMS, token_weighted=SUMS)
OBLIGATORY = st.sets(st.integers(0, EXPERTS - 1), max_size=3).map(
    lambda ids: tuple(sorted(ids))
)


def slow_scores(routing: LayerRouting, score: str) -> list[float]:
    assert routing.token_weighted is not None
    assert routing.weighted_norms is not None
    scores = []
    for i in range(EXPERTS):
        picks = int(routing.picks[0, i] + routing.picks[1, i])
        if score == "frequency":
            scores.append(float(picks))
        elif score == "probability":
            scores.append(float(routing.mass[0, i] + routing.mass[1, i]))
        elif score == "easy-ep":
            total = routing.token_weighted[0, i] + routing.token_weighted[1, i]
            scores.append(float(total))
        else:
            norms = routing.weighted_norms[0, i] + routing.weighted_norms[1, i]
            scores.append(float(norms / picks) if picks else 0.0)
    return scores


def slow_choice(
    routing: LayerRouting, score: str, obligatory: tuple[int, ...], wanted: int
) -> list[int]:
    scores = slow_scores(routing, score)
    kept = list(obligatory)
    rest = [i for i in range(EXPERTS) if i not in obligatory]
    while len(kept) < wanted:
        best = rest[0]
        for i in rest:
            mass, best_mass = routing.mass[:, i].sum(), routing.mass[:, best].sum()
            if (scores[i], mass) > (scores[best], best_mass):
                best = i
        rest.remove(best)
        kept.append(best)
    return sorted(kept)


@given(ROUTING, OBLIGATORY, st.integers(4, EXPERTS), st.sampled_from(SCORE_NAMES[:-1]))
def test_choice_equals_the_slow_one(
    routing: LayerRouting, obligatory: tuple[int, ...], wanted: int, score: str
) -> None:
    given_limits = limits(EXPERTS, obligatory)
    found = choose_layer(routing, given_limits, budget(wanted), score=score)
    assert list(found.kept) == slow_choice(routing, score, obligatory, wanted)


def test_ties_go_to_more_mass_then_to_the_lower_id() -> None:
    routing = routing_of([[3, 3, 3, 3, 0, 0, 0, 9], [0] * 8],
                         [[1, 2, 2, 0, 9, 9, 9, 0], [0] * 8])  # fmt: skip
    kept = choose_layer(routing, limits(8), budget(3), score="frequency").kept
    assert kept == (1, 2, 7)


@given(ROUTING, st.permutations(range(EXPERTS)), st.sampled_from(SCORE_NAMES[:-1]))
def test_permuting_the_experts_permutes_the_choice(
    routing: LayerRouting, order: list[int], score: str
) -> None:
    # distinct masses leave no tie to the ids
    mass = routing.mass + np.linspace(0, 0.1, EXPERTS)
    plain = routing_of(routing.picks, mass, weighted_norms=routing.weighted_norms,
                       token_weighted=routing.token_weighted)  # fmt: skip
    assert plain.weighted_norms is not None
    assert plain.token_weighted is not None
    moved = routing_of(plain.picks[:, order], mass[:, order],
                       weighted_norms=plain.weighted_norms[:, order],
                       token_weighted=plain.token_weighted[:, order])  # fmt: skip
    before = choose_layer(plain, limits(8), budget(3), score=score)
    after = choose_layer(moved, limits(8), budget(3), score=score)
    assert sorted(order[new] for new in after.kept) == list(before.kept)
    assert after.retained_picks == before.retained_picks
    assert after.retained_mass == pytest.approx(before.retained_mass, abs=1e-6)


GROUPS = limits(8, num_groups=4, top_k_groups=2, group_picks=1, top_k=2)


@given(ROUTING, st.sampled_from([4, 8]))
def test_each_group_keeps_as_many(routing: LayerRouting, wanted: int) -> None:
    kept = choose_layer(routing, GROUPS, budget(wanted), score="frequency").kept
    assert [sum(i // 2 == group for i in kept) for group in range(4)] == [
        wanted // 4
    ] * 4
    for group in range(4):
        inside = slow_scores(routing, "frequency")[2 * group : 2 * group + 2]
        best = max(
            range(2), key=lambda i: (inside[i], routing.mass[:, 2 * group + i].sum())
        )
        assert 2 * group + best in kept


@given(ROUTING, OBLIGATORY, st.integers(4, EXPERTS))
def test_retained_shares_are_of_routed_experts(
    routing: LayerRouting, obligatory: tuple[int, ...], wanted: int
) -> None:
    found = choose_layer(
        routing, limits(8, obligatory), budget(wanted), score="frequency"
    )
    for share, sums in (
        (found.retained_picks, routing.picks.sum(0)),
        (found.retained_mass, routing.mass.sum(0)),
    ):
        whole = sum(sums[i] for i in range(8) if i not in obligatory)
        part = sum(sums[i] for i in found.kept if i not in obligatory)
        assert share == pytest.approx(part / whole if whole else 0, abs=1e-6)
    routed = EXPERTS - len(obligatory)
    assert 0.99 <= found.effective_experts <= routed + 0.01


def test_stability_is_the_overlap_of_two_halves() -> None:
    mass = np.ones((2, 8))
    same = routing_of([[5, 4, 3, 2, 1, 0, 0, 9]] * 2, mass)
    assert (
        choose_layer(same, limits(8, (7,)), budget(3), score="frequency").stability == 1
    )
    parted = routing_of([[5, 4, 0, 0, 0, 0, 0, 0], [0, 4, 5, 0, 0, 0, 0, 0]], mass)
    found = choose_layer(parted, limits(8, (7,)), budget(3), score="frequency")
    assert found.stability == 0.5
    assert found.kept == (1, 2, 7) or found.kept == (0, 1, 7)


def test_stability_is_unknown_for_one_half_or_at_random() -> None:
    routing = LayerRouting(
        layer=0,
        num_tokens=np.array([5, 0]),
        picks=np.ones((2, 8), np.int64),
        mass=np.ones((2, 8)),
    )
    assert (
        choose_layer(routing, limits(8), budget(4), score="frequency").stability is None
    )
    whole = routing_of(np.ones((2, 8)), np.ones((2, 8)))
    assert choose_layer(whole, limits(8), budget(4), score="random").stability is None


def test_random_choice_depends_on_seed_and_layer_alone() -> None:
    first = routing_of(np.ones((2, 8)), np.ones((2, 8)))
    second = routing_of(np.arange(16).reshape(2, 8), np.zeros((2, 8)))

    def kept(routing: LayerRouting, seed: int) -> tuple[int, ...]:
        found = choose_layer(routing, limits(8), budget(4), score="random", seed=seed)
        return found.kept

    assert kept(first, 1) == kept(second, 1)
    assert len({kept(first, seed) for seed in range(10)}) > 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("score", SCORE_NAMES)
def test_number_that_is_not_finite_is_named(value: float, score: str) -> None:
    sums = np.ones((2, 8))
    sums[1, 3] = value
    routing = routing_of(
        np.ones((2, 8)), sums, weighted_norms=sums, token_weighted=sums
    )
    with pytest.raises(RoutingError) as caught:
        choose_layer(routing, limits(8), budget(4), score=score)
    assert "expert 3" in str(caught.value)
    assert caught.value.hint


def test_layer_without_tokens_is_named() -> None:
    routing = LayerRouting(
        layer=0,
        num_tokens=np.array([0, 0]),
        picks=np.zeros((2, 8), np.int64),
        mass=np.zeros((2, 8)),
    )
    with pytest.raises(RoutingError, match="no calibration token"):
        choose_layer(routing, limits(8), budget(4), score="frequency")


@pytest.mark.parametrize("score", ["frequencies", "", "easy-ep", "reap"])
def test_score_that_cannot_be_had_is_named(score: str) -> None:
    routing = routing_of(np.ones((2, 8)), np.ones((2, 8)))
    with pytest.raises(SelectionError) as caught:
        choose_layer(routing, limits(8), budget(4), score=score)
    assert caught.value.hint


def test_layers_are_chosen_one_by_one() -> None:
    uneven: Limits = limits(num_experts={0: 8, 3: 2}, obligatory={0: (7,), 3: ()})
    small = LayerRouting(
        layer=3,
        num_tokens=np.array([5, 5]),
        picks=np.ones((2, 2), np.int64),
        mass=np.ones((2, 2)),
    )
    large = routing_of([[3, 2, 1, 0, 0, 0, 0, 0]] * 2, np.ones((2, 8)))
    found = [
        choose_layer(routing, uneven, budget(4), score="frequency")
        for routing in (large, small)
    ]
    assert [(layer.layer, layer.kept) for layer in found] == [
        (0, (0, 1, 2, 7)),
        (3, (0, 1)),
    ]
