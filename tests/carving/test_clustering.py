"""Experts of one size: balanced to the neuron, the best of their kind, repeatable."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from emo_prune.carving.clustering import (
    assign,
    balanced_labels,
    tightness,
    unit_keys,
)
from emo_prune.carving.document import Method

METHODS = get_args(Method)

SEEDS = st.integers(0, 2**32 - 1)


def keys(seed: int, num_neurons: int, hidden: int) -> Any:
    return np.random.default_rng(seed).standard_normal((num_neurons, hidden))


@given(SEEDS, st.integers(1, 8), st.integers(1, 6), st.integers(1, 5))
def test_every_expert_has_as_many_neurons(
    seed: int, num_experts: int, size: int, hidden: int
) -> None:
    units = unit_keys(keys(seed, num_experts * size, hidden))
    for method in METHODS:
        labels = assign(units, num_experts, method, [seed])
        assert np.bincount(labels).tolist() == [size] * num_experts
        firsts = [int(np.flatnonzero(labels == e)[0]) for e in range(num_experts)]
        assert firsts == sorted(firsts)


@given(SEEDS, st.integers(1, 6), st.integers(1, 6), st.integers(1, 20))
def test_an_assignment_costs_the_least_there_is(
    seed: int, num_clusters: int, size: int, most: int
) -> None:
    random = np.random.default_rng(seed)
    shape = (num_clusters * size, num_clusters)
    costs = random.integers(-most, most + 1, shape).astype(np.float64)
    labels, prices = balanced_labels(costs)
    repeated = np.repeat(costs, size, axis=1)
    least = repeated[linear_sum_assignment(repeated)].sum()
    rows = np.arange(len(costs))
    assert np.bincount(labels, minlength=num_clusters).tolist() == [size] * num_clusters
    assert costs[rows, labels].sum() == least
    cheapest = (costs + prices).min(axis=1)
    assert np.array_equal((costs + prices)[rows, labels], cheapest)
    earlier = random.integers(-most, most + 1, num_clusters).astype(np.float64)
    again, _ = balanced_labels(costs, earlier)
    assert costs[rows, again].sum() == least


@given(SEEDS, st.integers(2, 8), st.integers(2, 12))
def test_planted_blocks_are_found(seed: int, num_experts: int, size: int) -> None:
    random = np.random.default_rng(seed)
    directions = np.linalg.qr(random.standard_normal((16, 16)))[0][:num_experts]
    planted = random.permutation(np.repeat(np.arange(num_experts), size))
    noise = 0.05 * random.standard_normal((len(planted), 16))
    lengths = random.uniform(0.5, 20, (len(planted), 1))
    units = unit_keys((directions[planted] + noise) * lengths)
    labels = assign(units, num_experts, "kmeans", [seed])
    blocks = {(int(a), int(b)) for a, b in zip(planted, labels, strict=True)}
    assert len(blocks) == num_experts
    assert tightness(units, labels, num_experts) > 0.8


@pytest.mark.parametrize("seed", [41, 68, 93])  # of which one start finds none
def test_one_bad_start_is_not_the_last(seed: int) -> None:
    random = np.random.default_rng(seed)
    directions = np.linalg.qr(random.standard_normal((16, 16)))[0]
    planted = random.permutation(np.repeat(np.arange(16), 4))
    noise = 0.16 * random.standard_normal((64, 16))
    labels = assign(unit_keys(directions[planted] + noise), 16, "kmeans", [seed])
    assert len(set(zip(planted.tolist(), labels.tolist(), strict=True))) == 16


@pytest.mark.parametrize("seed", range(4))
def test_no_other_assignment_is_nearer_to_the_centres(seed: int) -> None:
    units = unit_keys(keys(seed, 256, 8))
    labels = assign(units, 8, "kmeans", [seed])
    centres = np.stack([units[labels == e].mean(axis=0) for e in range(8)])
    distances = np.square(units[:, None] - centres).sum(axis=2, dtype=np.float64)
    repeated = np.repeat(distances, 32, axis=1)
    least = repeated[linear_sum_assignment(repeated)].sum()
    assert distances[np.arange(256), labels].sum() == pytest.approx(least, rel=1e-6)


@given(SEEDS, st.integers(1, 6), st.integers(1, 8), st.integers(0, 8))
def test_tightness_is_of_the_keys_there_are(
    seed: int, num_experts: int, size: int, num_zero: int
) -> None:
    rows = keys(seed, num_experts * size, 5)
    rows[:num_zero] = 0
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled = rows / np.where(lengths > 0, lengths, 1)
    labels = np.random.default_rng(seed).permutation(len(rows)) % num_experts
    groups = [scaled[labels == expert] for expert in range(num_experts)]
    within = sum(np.square(group - group.mean(axis=0)).sum() for group in groups)
    total = np.square(scaled - scaled.mean(axis=0)).sum()
    expected = 1 - within / total if total > 1e-9 else 1
    found = tightness(unit_keys(rows), labels, num_experts)
    assert found == pytest.approx(expected, abs=1e-4)


def test_experts_whose_keys_are_one_and_the_same_are_as_tight_as_can_be() -> None:
    zeros, ones = np.zeros((4, 6)), np.ones((4, 6))
    for rows in (np.concatenate([zeros, ones]), np.concatenate([zeros, zeros])):
        units = unit_keys(rows)
        labels = assign(units, 2, "kmeans", [0])
        assert tightness(units, labels, 2) == 1


@given(SEEDS)
def test_sums_are_exact_in_whichever_order(seed: int) -> None:
    units = unit_keys(keys(seed, 64, 24))
    random = np.random.default_rng(seed)
    other = np.ascontiguousarray(units[:, random.permutation(24)])
    labels = assign(units, 4, "kmeans", [seed])
    assert np.array_equal(assign(other, 4, "kmeans", [seed]), labels)
    rows = random.permutation(64)
    assert tightness(units[rows], labels[rows], 4) == tightness(units, labels, 4)


def test_sums_are_exact_where_float64_would_round() -> None:
    units = unit_keys(keys(0, 1 << 14, 3))
    labels = assign(units, 2, "random", [0])

    def scatter(rows: Any) -> int:
        whole = [[int(x) for x in column] for column in rows.T]
        centres = [round(sum(column) / len(column)) for column in whole]
        pairs = zip(whole, centres, strict=True)
        return sum((x - centre) ** 2 for column, centre in pairs for x in column)

    within = sum(scatter(units[labels == expert]) for expert in range(2))
    assert tightness(units, labels, 2) == 1 - within / scatter(units)


def test_clusters_are_tighter_than_chance() -> None:
    units = unit_keys(keys(0, 512, 16))
    tight = {m: tightness(units, assign(units, 8, m, [0]), 8) for m in METHODS}
    chance = 7 / 511
    assert tight["kmeans"] > 10 * chance
    assert tight["random"] < 3 * chance
    assert tight["contiguous"] < 3 * chance


@pytest.mark.parametrize("row", [0.0, 1e-300, 1e300])
def test_keys_without_a_direction_or_a_decent_length_have_a_place(row: float) -> None:
    rows = np.full((8, 4), row)
    labels = assign(unit_keys(rows), 4, "kmeans", [0])
    assert np.bincount(labels).tolist() == [2] * 4


def test_another_seed_is_another_start() -> None:
    units = unit_keys(keys(1, 256, 8))
    once = assign(units, 8, "kmeans", [0, 3])
    assert np.array_equal(once, assign(units, 8, "kmeans", [0, 3]))
    assert not np.array_equal(once, assign(units, 8, "kmeans", [1, 3]))
    assert not np.array_equal(
        assign(units, 8, "random", [0, 3]), assign(units, 8, "random", [0, 4])
    )


_DIGEST = """
import hashlib, numpy as np
from emo_prune.carving.clustering import assign, unit_keys
keys = np.random.default_rng(0).standard_normal((1024, 96)).astype(np.float32)
labels = assign(unit_keys(keys), 8, "kmeans", [0])
print(hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest())
"""


def test_the_number_of_threads_changes_nothing() -> None:
    found = set()
    for threads in ("1", "2"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = os.environ | dict.fromkeys(names, threads)
        done = subprocess.run(
            [sys.executable, "-c", _DIGEST],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout)
    assert len(found) == 1
