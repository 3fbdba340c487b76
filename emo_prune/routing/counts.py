"""What was observed: per layer and expert, how the model routed the examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Sums = npt.NDArray[np.float64]

Combine = Callable[["LayerRouting"], "LayerRouting"]  # of several processes

COUNTS = ("num_tokens", "picks")  # the fields of `LayerRouting` that are int64
SUMS = ("mass", "weighted_norms", "token_weighted")  # and those that are float64


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRouting:
    """The routing of one layer over the calibration tokens: what a score is made of.

    Padding is never counted. Every array has two rows, one for each half of the
    examples (those in even and in odd places), so that the stability of a choice can be
    told: axis 0 is the half, axis 1 the expert, shared ones included. Scores sum over
    axis 0.

    num_tokens: int64 [2], tokens that went through the layer.
    picks: int64 [2, experts], how often each expert was among the top-k.
    mass: float64 [2, experts], router probability summed over tokens.
    weighted_norms: float64 [2, experts], sum over the tokens routed to an expert of
        gate weight times the Euclidean norm of the expert's output (REAP,
        arXiv 2510.13999); None where it was not asked for.
    token_weighted: float64 [2, experts], the same sum with each token weighted by how
        far the block turns it, 1 - cos(h, h + m) (EASY-EP, arXiv 2504.06792); or None.
    """

    layer: int
    num_tokens: Counts
    picks: Counts
    mass: Sums
    weighted_norms: Sums | None = None
    token_weighted: Sums | None = None

    @property
    def num_experts(self) -> int:
        """Experts of the layer, shared ones included."""
        return int(self.picks.shape[1])

    def half(self, index: int) -> LayerRouting:
        """Return the routing of one half of the examples alone (the other is zero)."""
        keep = np.array([[index == 0], [index == 1]])
        return LayerRouting(
            layer=self.layer,
            num_tokens=self.num_tokens * keep[:, 0],
            picks=self.picks * keep,
            mass=self.mass * keep,
            weighted_norms=_masked(self.weighted_norms, keep),
            token_weighted=_masked(self.token_weighted, keep),
        )


def _masked(sums: Sums | None, keep: npt.NDArray[np.bool_]) -> Sums | None:
    return None if sums is None else sums * keep
