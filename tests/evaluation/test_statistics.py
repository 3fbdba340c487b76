"""Standard errors, tests and intervals agree with statsmodels and with simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar

from emo_prune.evaluation.statistics import (
    clustered_mean,
    interval,
    mcnemar_p,
    mean_of,
    min_detectable,
    paired_difference,
    pooled_mean,
    weighted_mean,
)


def _subjects(
    draw: np.random.Generator, num: int
) -> tuple[list[float], list[float], list[str]]:
    """Right or wrong answers; each subject has a difficulty and a size of its own."""
    scores: list[float] = []
    clusters: list[str] = []
    for subject in range(num):
        size = int(draw.integers(20, 120))
        chance = draw.uniform(0.2, 0.9)
        scores += (draw.random(size) < chance).astype(float).tolist()
        clusters += [f"subject {subject}"] * size
    return scores, draw.uniform(0.5, 3, len(scores)).tolist(), clusters


@pytest.mark.parametrize("num", [2, 3, 8])
@pytest.mark.parametrize("weighted", [False, True])
def test_clustered_error_is_that_of_statsmodels(num: int, weighted: bool) -> None:
    scores, weights, clusters = _subjects(np.random.default_rng(num), num)
    if not weighted:
        weights = [1.0] * len(scores)
    groups = np.unique(clusters, return_inverse=True)[1]
    fit = sm.WLS(scores, np.ones(len(scores)), weights=weights).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": True}
    )
    found = clustered_mean(scores, weights, clusters)
    assert found.value == pytest.approx(fit.params[0])
    assert found.stderr == pytest.approx(fit.bse[0])


def test_independent_error_is_that_of_statsmodels() -> None:
    scores, _, _ = _subjects(np.random.default_rng(5), 4)
    fit = sm.OLS(scores, np.ones(len(scores))).fit()
    found = weighted_mean(scores, [1.0] * len(scores))
    assert found.stderr == pytest.approx(fit.bse[0])


def test_clusters_of_one_question_each_change_nothing() -> None:
    scores, weights, _ = _subjects(np.random.default_rng(6), 1)
    alone = [str(i) for i in range(len(scores))]
    expected = weighted_mean(scores, weights).stderr
    assert clustered_mean(scores, weights, alone).stderr == pytest.approx(expected)


def test_one_cluster_has_no_clustered_error() -> None:
    assert clustered_mean([0.0, 1.0], [1.0, 1.0], ["a", "a"]).stderr is None
    assert pooled_mean([0.0, 1.0], [1.0, 1.0], ["a", "a"]).stderr == pytest.approx(0.5)


def test_subjects_that_agree_by_chance_do_not_hide_the_error_of_their_questions() -> (
    None
):
    scores, weights, clusters = [1.0, 0.0] * 2, [1.0] * 4, ["a", "a", "b", "b"]
    assert clustered_mean(scores, weights, clusters).stderr == 0
    plain = weighted_mean(scores, weights).stderr
    assert pooled_mean(scores, weights, clusters).stderr == plain


def test_clustered_error_is_the_spread_of_means_over_drawn_subjects() -> None:
    draw = np.random.default_rng(7)
    found, errors = [], []
    for _ in range(400):
        chances = np.repeat(draw.uniform(0.3, 0.8, 30), 40)
        scores = (draw.random(1200) < chances).astype(float).tolist()
        clusters = [str(i // 40) for i in range(1200)]
        estimate = clustered_mean(scores, [1.0] * 1200, clusters)
        assert estimate.stderr is not None
        found.append(estimate.value)
        errors.append(estimate.stderr)
    assert np.mean(errors) == pytest.approx(np.std(found), rel=0.1)


@given(st.integers(0, 80), st.integers(0, 80))
def test_mcnemar_is_that_of_statsmodels_and_symmetric(lost: int, won: int) -> None:
    expected = mcnemar([[5, lost], [won, 7]], exact=True).pvalue
    assert mcnemar_p(lost, won) == pytest.approx(min(expected, 1.0))
    assert mcnemar_p(lost, won) == pytest.approx(mcnemar_p(won, lost))


def _pairs(
    draw: np.random.Generator, n: int, lost: float, won: float
) -> tuple[list[float], list[float]]:
    """Answers of model and baseline, of which shares are lost and won."""
    kind = draw.random(n)
    baseline = draw.random(n) < 0.6
    baseline = np.where(kind < lost + won, kind < lost, baseline)
    ours = np.where(kind < lost + won, kind >= lost, baseline)
    return ours.astype(float).tolist(), baseline.astype(float).tolist()


@pytest.mark.parametrize(
    ("n", "lost", "won"), [(200, 0.08, 0.06), (400, 0.10, 0.02), (1000, 0.03, 0.03)]
)
def test_the_interval_covers_the_truth_in_95_of_100_data_sets(
    n: int, lost: float, won: float
) -> None:
    draw = np.random.default_rng(n)
    covered = 0
    for _ in range(2000):
        ours, theirs = _pairs(draw, n, lost, won)
        found = paired_difference(ours, theirs, [1.0] * n)
        band = interval(found.value, found.stderr)
        assert band is not None
        covered += band[0] <= won - lost <= band[1]
    assert 0.93 <= covered / 2000 <= 0.97


def test_the_interval_of_a_mean_over_categories_covers_the_truth() -> None:
    draw = np.random.default_rng(12)
    shares = ((80, 0.10, 0.05), (300, 0.04, 0.06), (150, 0.12, 0.03))
    truth = sum(won - lost for _, lost, won in shares) / len(shares)
    covered = 0
    for _ in range(2000):
        parts = [
            paired_difference(*_pairs(draw, n, lost, won), [1.0] * n)
            for n, lost, won in shares
        ]
        mean = mean_of(parts)
        band = interval(mean.value, mean.stderr)
        assert band is not None
        covered += band[0] <= truth <= band[1]
    assert 0.93 <= covered / 2000 <= 0.97


def test_the_interval_of_bits_covers_the_truth_too() -> None:
    draw = np.random.default_rng(11)
    covered = 0
    for _ in range(2000):
        sizes = draw.integers(20, 400, 100).astype(float)
        theirs = draw.gamma(4, 0.25, 100)
        ours = theirs + draw.normal(0.03, 0.1, 100)
        found = paired_difference(ours.tolist(), theirs.tolist(), sizes.tolist())
        band = interval(found.value, found.stderr)
        assert band is not None
        covered += band[0] <= 0.03 <= band[1]
    assert 0.93 <= covered / 2000 <= 0.97


@pytest.mark.parametrize("n", [300, 1500])
def test_the_least_detectable_drop_is_seen_four_times_out_of_five(n: int) -> None:
    draw = np.random.default_rng(n)
    weights = [1.0] * n
    drop = np.median(
        [
            min_detectable(
                paired_difference(*_pairs(draw, n, 0.06, 0.06), weights).stderr
            )
            or 0
            for _ in range(50)
        ]
    )
    seen = 0
    for _ in range(1000):
        sides = _pairs(draw, n, 0.06 + drop / 2, 0.06 - drop / 2)
        found = paired_difference(*sides, weights)
        band = interval(found.value, found.stderr)
        seen += band is not None and band[1] < 0
    assert 0.73 <= seen / 1000 <= 0.87


def test_four_times_the_questions_see_half_the_drop() -> None:
    once, fourfold = ([1.0] * 90 + [0.0] * 10) * 3, ([1.0] * 90 + [0.0] * 10) * 12
    drops = [
        min_detectable(paired_difference(s, s[::-1], [1.0] * len(s)).stderr)
        for s in (once, fourfold)
    ]
    assert drops[0] is not None
    assert drops[1] == pytest.approx(drops[0] / 2, rel=0.02)


def test_the_interval_reaches_as_far_as_its_confidence() -> None:
    found = [interval(0.0, 1.0, confidence) for confidence in (0.8, 0.95, 0.99)]
    halves = [band[1] for band in found if band]
    assert halves == pytest.approx([1.2816, 1.9600, 2.5758], abs=1e-4)
    assert interval(0.0, None) is None
    assert min_detectable(None) is None
    assert math.isclose(min_detectable(1.0) or 0, 1.959964 + 0.841621, abs_tol=1e-5)
