"""Points to clusters of equal size, at the least total cost: exact, in whole numbers.

The transportation problem, solved by successive shortest paths among the clusters: they
are few, so that a path costs little however many points there are.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Costs = NDArray[np.float64]
Labels = NDArray[np.intp]


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
    prices = np.zeros(num_clusters) if prices is None else prices
    # At any prices this is the best assignment of those that have its sizes.
    labels: Labels = (costs + prices).argmin(axis=1)
    flow = _Flow(costs, labels)
    while (path := flow.cheapest_path()) is not None:
        flow.move(path)
    return labels, flow.prices()


class _Flow:
    """Clusters as the nodes of a graph: an arc moves the point that it is best for."""

    def __init__(self, costs: Costs, labels: Labels) -> None:
        self._costs = costs
        self._labels = labels
        num_points, self._num = costs.shape
        self._size = num_points // self._num
        self._sizes = np.bincount(labels, minlength=self._num)
        self._arcs = np.full((self._num, self._num), np.inf)
        self._movers = np.zeros((self._num, self._num), dtype=np.intp)
        for cluster in range(self._num):
            self._update(cluster)

    def _update(self, cluster: int) -> None:
        """Find for each other cluster the point that is moved there at least cost."""
        members = np.flatnonzero(self._labels == cluster)
        self._arcs[cluster] = np.inf
        if len(members):
            rises = self._costs[members] - self._costs[members, cluster][:, None]
            best = rises.argmin(axis=0)
            self._movers[cluster] = members[best]
            self._arcs[cluster] = rises[best, np.arange(self._num)]
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

    def _shortest(self, distances: Costs) -> tuple[Costs, NDArray[Any]]:
        """Bellman and Ford's way: arcs may be negative, circles of them are not."""
        before = np.full(self._num, -1)
        while True:
            through = distances[:, None] + self._arcs
            nearest = through.argmin(axis=0)
            shorter = through[nearest, np.arange(self._num)] < distances
            if not shorter.any():
                return distances, before
            distances = np.where(shorter, through.min(axis=0), distances)
            before = np.where(shorter, nearest, before)

    def move(self, path: list[int]) -> None:
        """Move a point along each step of a path."""
        for here, there in itertools.pairwise(path):
            self._labels[self._movers[here, there]] = there
        self._sizes[path[0]] -= 1
        self._sizes[path[-1]] += 1
        for cluster in path:
            self._update(cluster)

    def prices(self) -> Costs:
        """Return prices at which no point would rather be elsewhere."""
        distances, _ = self._shortest(np.zeros(self._num))
        return -distances
