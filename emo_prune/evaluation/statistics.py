"""Means, standard errors, intervals and what they can show.

A score counts by its weight: 1 for a right or wrong answer, bytes for bits per byte.
With equal weights the standard error is lm-eval's, sample deviation over sqrt(n).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
POWER = 0.80


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over `n` questions and its standard error (None if it has none)."""

    value: float
    stderr: float | None
    n: int

    def times(self, scale: float) -> Estimate:
        """Return the same in another unit."""
        error = None if self.stderr is None else self.stderr * scale
        return Estimate(value=self.value * scale, stderr=error, n=self.n)


def two_sided(confidence: float) -> float:
    """Return how many standard errors a normal interval reaches to either side."""
    return _normal_quantile((1 + confidence) / 2)


def interval(
    value: float, stderr: float | None, confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """Return the normal interval around a value; None without a standard error."""
    if stderr is None:
        return None
    half = two_sided(confidence) * stderr
    return value - half, value + half


def min_detectable(stderr: float | None) -> float | None:
    """Return the difference that a paired test sees four times out of five.

    (z(1 - alpha / 2) + z(power)) * stderr with alpha = 0.05 and power = 0.80, in the
    unit of `stderr`, the standard error of the paired difference: Miller (2024), Adding
    Error Bars to Evals, arXiv 2411.00640, power analysis, one answer to a question. Of
    right or wrong answers that error is sqrt((D - d^2) / n), D the share of questions
    answered differently and d the difference, both with `paired_difference`'s two
    made-up questions: it is the observed discordance that decides, not the accuracies.
    """
    if stderr is None:
        return None
    return (two_sided(CONFIDENCE) + _normal_quantile(POWER)) * stderr


def mcnemar_p(lost: int, won: int) -> float:
    """Return McNemar's exact two-sided p: are flips to either side equally likely?

    The binomial test of `lost` among the `lost + won` questions answered differently
    (McNemar 1947; exact form as in Agresti, Categorical Data Analysis); 1 if there are
    none.
    """
    if lost + won == 0:
        return 1.0
    from scipy import stats  # slow to import

    return float(stats.binomtest(lost, lost + won).pvalue)


def weighted_mean(scores: Sequence[float], weights: Sequence[float]) -> Estimate:
    """Return sum(w s) / sum(w) and its (linearised) standard error."""
    s = np.asarray(scores, dtype=np.float64)
    w = np.asarray(weights, dtype=np.float64)
    n, total = len(s), float(w.sum())
    value = float((w * s).sum() / total)
    if n < 2:
        return Estimate(value=value, stderr=None, n=n)
    residual = float(((w * (s - value)) ** 2).sum())
    return Estimate(value=value, stderr=math.sqrt(residual * n / (n - 1)) / total, n=n)


def clustered_mean(
    scores: Sequence[float], weights: Sequence[float], clusters: Sequence[str]
) -> Estimate:
    """Return the weighted mean and its cluster-robust standard error.

    sqrt(G / (G - 1) * sum over clusters of (sum of w (s - mean))^2) / sum(w), with G
    clusters: the sandwich of Liang and Zeger (1986) for a regression on a constant
    alone, where the usual correction G / (G - 1) * (n - 1) / (n - 1) has one factor
    left. None with fewer than two clusters.
    """
    plain = weighted_mean(scores, weights)
    names, index = np.unique(np.asarray(clusters), return_inverse=True)
    if len(names) < 2:
        return Estimate(value=plain.value, stderr=None, n=plain.n)
    w = np.asarray(weights, dtype=np.float64)
    pulls = w * (np.asarray(scores, dtype=np.float64) - plain.value)
    squares = float((np.bincount(index, weights=pulls) ** 2).sum())
    factor = len(names) / (len(names) - 1)
    return Estimate(
        value=plain.value,
        stderr=math.sqrt(factor * squares) / float(w.sum()),
        n=plain.n,
    )


def pooled_mean(
    scores: Sequence[float], weights: Sequence[float], clusters: Sequence[str]
) -> Estimate:
    """Return the weighted mean with the larger of its two standard errors.

    One takes questions as independent, the other clusters. With few clusters the latter
    may come out small by chance (two subjects of equal accuracy: zero), hence the rule
    of Angrist and Pischke (2009), Mostly Harmless Econometrics, chapter 8: trust the
    larger.
    """
    plain = weighted_mean(scores, weights)
    grouped = clustered_mean(scores, weights, clusters)
    known = [e.stderr for e in (plain, grouped) if e.stderr is not None]
    return Estimate(value=plain.value, stderr=max(known, default=None), n=plain.n)


def is_right_or_wrong(*scores: Sequence[float]) -> bool:
    """Tell whether every score is 1 (right) or 0 (wrong)."""
    return all(score in (0.0, 1.0) for side in scores for score in side)


def paired_difference(
    ours: Sequence[float], theirs: Sequence[float], weights: Sequence[float]
) -> Estimate:
    """Return the mean of ours - theirs over the same questions.

    Right-or-wrong scores get the error of Bonett and Price (2012): one made-up question
    won and one lost. Without them two models that agree on ten questions would seem
    equal beyond doubt.
    """
    difference = [a - b for a, b in zip(ours, theirs, strict=True)]
    plain = weighted_mean(difference, weights)
    if not is_right_or_wrong(ours, theirs):
        return plain
    padded = weighted_mean([*difference, 1.0, -1.0], [*weights, 1.0, 1.0])
    return Estimate(value=plain.value, stderr=padded.stderr, n=plain.n)


def mean_of(parts: Sequence[Estimate]) -> Estimate:
    """Return the unweighted mean of independent estimates."""
    errors = [part.stderr for part in parts]
    known = [error for error in errors if error is not None]
    complete = len(known) == len(errors)
    return Estimate(
        value=math.fsum(part.value for part in parts) / len(parts),
        stderr=math.hypot(*known) / len(parts) if complete else None,
        n=sum(part.n for part in parts),
    )


def _normal_quantile(probability: float) -> float:
    from scipy import stats  # slow to import

    return float(stats.norm.ppf(probability))
