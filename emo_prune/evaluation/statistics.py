"""Means, standard errors and intervals, all from one formula.

A score counts by its weight: 1 for a right or wrong answer, bytes for bits per byte.
With equal weights the standard error is lm-eval's, sample deviation over sqrt(n).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

Z_95 = float(stats.norm.ppf(0.975))


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over `n` questions and its standard error (None if it has none)."""

    value: float
    stderr: float | None
    n: int

    def interval(self, scale: float = 1.0) -> tuple[float, float] | None:
        """Return the normal 95 % interval, times `scale`."""
        if self.stderr is None:
            return None
        half = Z_95 * self.stderr
        return (self.value - half) * scale, (self.value + half) * scale


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
    if not {*ours, *theirs} <= {0.0, 1.0}:
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
