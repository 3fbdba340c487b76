"""Neurons to experts of equal size: balanced k-means, as in the EMoE paper, and others.

From the paper (arXiv 2310.10908): the neurons are clustered by their keys, the rows of
the FFN's first weight, scaled to length 1, into clusters of exactly d_ff / N.

Our own: how that is solved. The authors call k-means-constrained, which solves each
assignment for distances rounded to thousandths. Here keys and centres are rounded to
multiples of 2**-20. Products and sums over a row are then whole numbers below 2**53,
which float64 holds exactly, in whichever order they are added up; sums over rows are
kept as int64. The one sum of fractions, a key's length, is added up in an order that is
written out. So an assignment is the best there is, no round ends with a larger scatter
than the one before, and one version of numpy gives the same to the bit on every
processor, however many threads there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from emo_prune.carving.document import Method

Keys = NDArray[np.float32]
Whole = NDArray[np.int64]
Costs = NDArray[np.float64]
Labels = NDArray[np.intp]
Told = Callable[[int, int], None]

_GRID = 2.0**20  # keys of length 1 are whole numbers that float32 still holds
_ROWS = 256  # at a time, as float64
_MAX_ROUNDS = 1000  # the paper's
STARTS = 4  # of k-means; the best of them counts
_DRAWN = 8  # rows, of which one becomes a centre
_RAISES = 4  # of prices, for each cluster, at most


def unit_keys(keys: NDArray[np.floating]) -> Keys:
    """Return rows scaled to length 1, in whole multiples of 2**-20; zeros stay."""
    units = np.empty(keys.shape, dtype=np.float32)
    for start in range(0, len(keys), _ROWS):
        rows = keys[start : start + _ROWS].astype(np.float64)
        largest = np.abs(rows).max(axis=1, keepdims=True)
        rows /= np.where(largest > 0, largest, 1)  # their squares neither vanish
        norms = np.sqrt(_added_up(np.square(rows)))
        units[start : start + _ROWS] = np.rint(
            rows / np.where(norms > 0, norms, 1) * _GRID
        )
    return units


def _added_up(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each row's sum [rows, 1], by halves; overwrites `terms`.

    The order in which `sum` adds is not numpy's promise.
    """
    while (width := terms.shape[1]) > 1:
        half = (width + 1) // 2
        terms[:, : width - half] += terms[:, half:]
        terms = terms[:, :half]
    return terms


def assign(
    units: Keys,
    num_experts: int,
    method: Method,
    seed: list[int],
    *,
    told: Told = lambda _start, _round: None,
) -> Labels:
    """Return each neuron's expert; experts are numbered by their smallest neuron.

    Args:
        units: [neurons, hidden], of `unit_keys`.
        num_experts: divides the neurons.
        method: kmeans is the paper's, random its baseline; contiguous takes neurons as
            they lie in the matrix.
        seed: whole numbers that together start the random choices.
        told: hears of each round of k-means: the start it belongs to, and its number.
    """
    num_neurons = len(units)
    labels = np.repeat(np.arange(num_experts), num_neurons // num_experts)
    random = np.random.default_rng(seed)
    if method == "random":
        labels = random.permutation(labels)
    elif method == "kmeans":
        labels = balanced_kmeans(units, num_experts, random, told)
    return _in_order(labels)


def balanced_kmeans(
    units: Keys, num_clusters: int, random: np.random.Generator, told: Told
) -> Labels:
    """Return each row's cluster, all of one size: k-means, the best of a few starts."""
    squares = _squares(units)
    found = []
    for start in range(1, STARTS + 1):
        # Drawn when its turn comes: all starts share one stream of random numbers.
        centres = _plus_plus(units, squares, num_clusters, random)
        found.append(_lloyd(units, centres, partial(told, start)))
    return min(found, key=lambda one: one[0])[1]


def _lloyd(
    units: Keys, centres: Costs, told: Callable[[int], None]
) -> tuple[int, Labels]:
    """Assign and average in turn, until nothing is gained: the scatter, the labels."""
    labels, prices = balanced_labels(_costs(units, centres))
    centres, scatter = _centres(units, labels, len(centres))
    for number in range(1, _MAX_ROUNDS + 1):
        told(number)
        # Centres move little from round to round, and so do the prices that balance.
        moved, prices = balanced_labels(_costs(units, centres), prices)
        centres, found = _centres(units, moved, len(centres))
        # Both steps are exact, so that the scatter cannot rise; when it stays, there
        # is nothing more to gain, and the labels of fewer rounds are kept.
        if found >= scatter:
            break
        labels, scatter = moved, found
    return scatter, labels


def _costs(units: Keys, centres: Costs) -> Costs:
    """Return squared distances [rows, centres], less the part that is the row's own."""
    products = np.empty((len(units), len(centres)))
    for start in range(0, len(units), _ROWS):
        rows = units[start : start + _ROWS].astype(np.float64)
        np.matmul(rows, centres.T, out=products[start : start + _ROWS])
    # |row - centre|^2 without |row|^2, which is the same for all centres of a row.
    costs: Costs = np.square(centres).sum(axis=1) - 2 * products
    return costs


def _centres(units: Keys, labels: Labels, num_clusters: int) -> tuple[Costs, int]:
    """Return the centres of clusters of one size, and the scatter around them.

    That is the sum of squared distances, less the rows' own squares.
    """
    size = len(units) // num_clusters
    sums = np.stack(
        [units[labels == c].sum(axis=0, dtype=np.float64) for c in range(num_clusters)]
    )
    # The mean's nearest point of the grid is the best of its points: the next costs are
    # whole numbers again, and the scatter around it is the least that a point can have.
    centres = np.rint(sums / size)
    whole = centres.astype(np.int64)
    scatter = int((whole * (size * whole - 2 * sums.astype(np.int64))).sum())
    return centres, scatter


def _plus_plus(
    units: Keys, squares: Whole, num_clusters: int, random: np.random.Generator
) -> Costs:
    """Return rows far from one another: k-means++, each the best of a few drawn."""
    chosen = [int(random.integers(len(units)))]
    nearest = _distances(units, squares, chosen)[:, 0]
    for _ in range(num_clusters - 1):
        # Rows are drawn by their squared distance to the nearest centre so far; of
        # several drawn the one that leaves the least of that becomes a centre.
        edges = np.cumsum(nearest)
        drawn = np.searchsorted(edges, random.random(_DRAWN) * edges[-1], side="right")
        drawn = np.minimum(drawn, len(units) - 1)
        nearer = np.minimum(_distances(units, squares, drawn), nearest[:, None])
        best = int(nearer.sum(axis=0).argmin())
        chosen.append(int(drawn[best]))
        nearest = nearer[:, best]
    return units[chosen].astype(np.float64)


def _distances(units: Keys, squares: Whole, chosen: Sequence[int] | Labels) -> Whole:
    """Return the squared distances [rows, chosen] to some of the rows."""
    costs = _costs(units, units[chosen].astype(np.float64))
    return squares[:, None] + costs.astype(np.int64)


def _squares(units: Keys) -> Whole:
    """Return each row's squared length; 2**40, or nearly, unless it is all zeros."""
    squares = np.empty(len(units), dtype=np.int64)
    for start in range(0, len(units), _ROWS):
        rows = units[start : start + _ROWS].astype(np.float64)
        squares[start : start + _ROWS] = np.square(rows).sum(axis=1)
    return squares


def tightness(units: Keys, labels: Labels, num_experts: int) -> float:
    """Return how much nearer the keys are to their expert's centre than to all keys'.

    1 - within / total, sums of squared distances: 0 if the experts are alike, 1 if the
    keys of each are one and the same. Experts chosen at random have about
    (experts - 1) / (neurons - 1).
    """
    squares = int(_squares(units).sum())
    _, total = _centres(units, np.zeros_like(labels), 1)
    _, within = _centres(units, labels, num_experts)
    if squares + total == 0:
        return 1.0
    return 1 - (squares + within) / (squares + total)


def _in_order(labels: Labels) -> Labels:
    """Number clusters by their smallest member."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    ranks = np.empty(len(first), dtype=np.intp)
    ranks[np.argsort(first)] = np.arange(len(first))
    return ranks[inverse]


def balanced_labels(costs: Costs, prices: Costs | None = None) -> tuple[Labels, Costs]:
    """Return each point's cluster, all of one size, the sum of their costs the least.

    Args:
        costs: [points, clusters], whole numbers below 2**53; the clusters divide the
            points.
        prices: [clusters], of an earlier call with costs like these: saves time, and
            may choose another of several best answers.

    Returns:
        The clusters [points], and the prices [clusters] at which each point is where
        it is cheapest.
    """
    num_clusters = costs.shape[1]
    prices = _raised(costs, np.zeros(num_clusters) if prices is None else prices)
    # At any prices this is the best assignment of those that have its sizes: another
    # of the same sizes pays the same prices, and each point here costs least. From it
    # the paths keep to the best: each moves a surplus to a lack at the least cost.
    labels: Labels = (costs + prices).argmin(axis=1)
    flow = _Flow(costs, labels)
    while (path := flow.cheapest_path()) is not None:
        flow.move(path)
    return labels, flow.prices()


def _raised(costs: Costs, prices: Costs) -> Costs:
    """Raise the prices of clusters that are too large, so that fewer are.

    Each in turn to where just enough of its points would rather be elsewhere: saves
    most of the paths where many points are nearest to a few clusters.
    """
    num_points, num_clusters = costs.shape
    size = num_points // num_clusters
    prices = prices.copy()
    for _ in range(_RAISES * num_clusters):
        labels = (costs + prices).argmin(axis=1)
        sizes = np.bincount(labels, minlength=num_clusters)
        largest = int(sizes.argmax())
        surplus = int(sizes[largest]) - size
        if surplus <= size // 8:
            break
        members = costs[labels == largest] + prices
        own = members[:, largest].copy()
        members[:, largest] = np.inf
        margins = np.sort(members.min(axis=1) - own)  # at which each would leave
        prices[largest] += margins[surplus - 1]
    return prices


class _Flow:
    """Clusters as the nodes of a graph: an arc moves the point that it is best for.

    That is the residual graph of the transportation problem with the points left out:
    any path of it goes through points, but only the cheapest one between two clusters
    matters, and so clusters are enough.
    """

    def __init__(self, costs: Costs, labels: Labels) -> None:
        self._costs = costs
        self._labels = labels
        num_points, self._num = costs.shape
        self._size = num_points // self._num
        self._sizes = np.bincount(labels, minlength=self._num)
        self._arcs = np.full((self._num, self._num), np.inf)
        for cluster in range(self._num):
            self._update(cluster)

    def _update(self, cluster: int) -> None:
        """Find at which least cost a point of it is moved to each other cluster."""
        costs = self._costs[self._labels == cluster]
        rises = costs - costs[:, cluster, None]
        self._arcs[cluster] = rises.min(axis=0, initial=np.inf)
        self._arcs[cluster, cluster] = np.inf

    def cheapest_path(self) -> list[int] | None:
        """Return the clusters from one that is too large to one too small, or None."""
        if (self._sizes == self._size).all():
            return None
        distances = np.where(self._sizes > self._size, 0.0, np.inf)
        distances, before = self._shortest(distances)
        path = [int(np.where(self._sizes < self._size, distances, np.inf).argmin())]
        while (previous := int(before[path[-1]])) >= 0:
            path.append(previous)
        return path[::-1]

    def _shortest(self, distances: Costs) -> tuple[Costs, Labels]:
        """Bellman and Ford's way: arcs may be negative, circles of them are not."""
        before: Labels = np.full(self._num, -1)
        while True:
            through = distances[:, None] + self._arcs
            nearest = through.argmin(axis=0)
            shorter = through[nearest, np.arange(self._num)] < distances
            if not shorter.any():
                return distances, before
            distances = np.where(shorter, through.min(axis=0), distances)
            before = np.where(shorter, nearest, before)

    def move(self, path: list[int]) -> None:
        """Move points along each step of a path: as many as cost the same."""
        steps = list(itertools.pairwise(path))
        movers = [self._movers(here, there) for here, there in steps]
        surplus = self._sizes[path[0]] - self._size
        lacking = self._size - self._sizes[path[-1]]
        amount = min(surplus, lacking, *map(len, movers))
        for points, (_, there) in zip(movers, steps, strict=True):
            self._labels[points[:amount]] = there
        self._sizes[path[0]] -= amount
        self._sizes[path[-1]] += amount
        for cluster in path:
            self._update(cluster)

    def _movers(self, here: int, there: int) -> Labels:
        """Return the points of a cluster that are moved to another at least cost."""
        members = np.flatnonzero(self._labels == here)
        rises = self._costs[members, there] - self._costs[members, here]
        cheapest: Labels = members[rises == self._arcs[here, there]]
        return cheapest

    def prices(self) -> Costs:
        """Return prices at which no point would rather be elsewhere."""
        distances, _ = self._shortest(np.zeros(self._num))
        return -distances
