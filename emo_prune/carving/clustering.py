"""Neurons to experts of equal size: balanced k-means, as in the EMoE paper, and others.

From the paper (arXiv 2310.10908): the neurons are clustered by their keys, the rows of
the FFN's first weight, scaled to length 1, into clusters of exactly d_ff / N.

Our own: how that is solved. Keys and centres are rounded to multiples of 2**-20, so
that every product and sum of them is a whole number that float64 holds exactly, in
whichever order it is added up. The outcome is therefore the same to the bit however
many threads compute it, and with whatever linear algebra library.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from emo_prune.carving.balanced import Costs, Labels, balanced_labels

Method = Literal["kmeans", "contiguous", "random"]
METHODS: tuple[Method, ...] = get_args(Method)
Keys = NDArray[np.float32]

_GRID = 2.0**20  # keys of length 1 are whole numbers that float32 still holds
_ROWS = 1024  # at a time, as float64
_MAX_ROUNDS = 1000  # the paper's
_STARTS = 4
_DRAWN = 8  # rows, of which one becomes a centre


def unit_keys(keys: NDArray[np.floating]) -> Keys:
    """Return rows scaled to length 1, in whole multiples of 2**-20; zeros stay."""
    units = np.empty(keys.shape, dtype=np.float32)
    for start in range(0, len(keys), _ROWS):
        rows = keys[start : start + _ROWS].astype(np.float64)
        largest = np.abs(rows).max(axis=1, keepdims=True)
        rows /= np.where(largest > 0, largest, 1)  # their squares neither vanish
        norms = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
        units[start : start + _ROWS] = np.rint(
            rows / np.where(norms > 0, norms, 1) * _GRID
        )
    return units


def assign(units: Keys, num_experts: int, method: Method, seed: list[int]) -> Labels:
    """Return each neuron's expert; experts are numbered by their smallest neuron.

    Args:
        units: [neurons, hidden], of `unit_keys`.
        num_experts: divides the neurons.
        method: kmeans is the paper's, random its baseline; contiguous takes neurons as
            they lie in the matrix.
        seed: whole numbers that together start the random choices.
    """
    num_neurons = len(units)
    labels = np.repeat(np.arange(num_experts), num_neurons // num_experts)
    random = np.random.default_rng(seed)
    if method == "random":
        labels = random.permutation(labels)
    elif method == "kmeans":
        labels = balanced_kmeans(units, num_experts, random)
    return _in_order(labels)


def balanced_kmeans(
    units: Keys, num_clusters: int, random: np.random.Generator
) -> Labels:
    """Return each row's cluster, all of one size: k-means, the best of a few starts."""
    found = [
        _lloyd(units, _plus_plus(units, num_clusters, random)) for _ in range(_STARTS)
    ]
    return min(found, key=lambda one: one[0])[1]


def _lloyd(units: Keys, centres: Costs) -> tuple[float, Labels]:
    """Assign and average in turn, until nothing is gained: the scatter, the labels."""
    labels, prices = balanced_labels(_costs(units, centres))
    total = np.inf
    for _ in range(_MAX_ROUNDS):
        centres = _centres(units, labels, len(centres))
        before, total = total, _scatter(units, centres)
        if total >= before:
            break
        labels, prices = balanced_labels(_costs(units, centres), prices)
    return total, labels


def _costs(units: Keys, centres: Costs) -> Costs:
    """Return squared distances [rows, centres], less the part that is the row's own."""
    products = np.empty((len(units), len(centres)))
    for start in range(0, len(units), _ROWS):
        rows = units[start : start + _ROWS].astype(np.float64)
        np.matmul(rows, centres.T, out=products[start : start + _ROWS])
    costs: Costs = np.square(centres).sum(axis=1) - 2 * products
    return costs


def _centres(units: Keys, labels: Labels, num_clusters: int) -> Costs:
    sums = np.stack(
        [units[labels == c].sum(axis=0, dtype=np.float64) for c in range(num_clusters)]
    )
    return np.rint(sums / (len(units) // num_clusters))


def _scatter(units: Keys, centres: Costs) -> float:
    """Return the sum of squared distances to the centres of clusters of one size."""
    size = len(units) // len(centres)
    return float(len(units) * _GRID**2 - size * np.square(centres).sum())


def _plus_plus(units: Keys, num_clusters: int, random: np.random.Generator) -> Costs:
    """Return rows far from one another: k-means++, each the best of a few drawn."""
    chosen = [int(random.integers(len(units)))]
    nearest = _distances(units, chosen)[:, 0]
    for _ in range(num_clusters - 1):
        edges = np.cumsum(nearest)
        drawn = np.searchsorted(edges, random.random(_DRAWN) * edges[-1], side="right")
        drawn = np.minimum(drawn, len(units) - 1)
        nearer = np.minimum(_distances(units, drawn), nearest[:, None])
        best = int(nearer.sum(axis=0).argmin())
        chosen.append(int(drawn[best]))
        nearest = nearer[:, best]
    return units[chosen].astype(np.float64)


def _distances(units: Keys, chosen: Sequence[int] | Labels) -> Costs:
    """Return the squared distances [rows, chosen] to some of the rows."""
    return np.maximum(_GRID**2 + _costs(units, units[chosen].astype(np.float64)), 0)


def tightness(units: Keys, labels: Labels, num_experts: int) -> float:
    """Return how much nearer the keys are to their expert's centre than to all keys'.

    1 - within / total, sums of squared distances: 0 if the experts are alike, 1 if the
    keys of each are one and the same. Experts chosen at random have about
    (experts - 1) / (neurons - 1).
    """
    everything = _scatter(units, _centres(units, np.zeros_like(labels), 1))
    if everything <= 0:
        return 1.0
    within = _scatter(units, _centres(units, labels, num_experts))
    return float(1 - within / everything)


def _in_order(labels: Labels) -> Labels:
    """Number clusters by their smallest member."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    ranks = np.empty(len(first), dtype=np.intp)
    ranks[np.argsort(first)] = np.arange(len(first))
    return ranks[inverse]
