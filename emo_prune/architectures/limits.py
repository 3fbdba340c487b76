"""What a router needs of a selection."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from emo_prune.architectures.layout import MoEModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a router needs of a selection, per layer id where layers may differ.

    `obligatory` are shared and always-active experts, `group_picks` the experts of a
    group that the router ranks it by (0 without groups).
    """

    num_experts: Mapping[int, int]
    obligatory: Mapping[int, tuple[int, ...]]
    num_shared_experts: int
    top_k: int
    num_groups: int
    top_k_groups: int
    group_picks: int

    @classmethod
    def of(cls, model: MoEModel) -> Limits:
        """Return the limits of a model."""
        grouped = model.num_groups > 1
        return cls(
            num_experts={layer.layer: layer.num_experts for layer in model.layers},
            obligatory={layer.layer: layer.obligatory for layer in model.layers},
            num_shared_experts=model.num_shared_experts,
            top_k=model.top_k,
            num_groups=model.num_groups,
            top_k_groups=model.top_k_groups,
            group_picks=model.architecture.group_picks if grouped else 0,
        )

    def least(self, *, lower_top_k: bool = False) -> int:
        """Return the smallest number of experts that the router works with."""
        obligatory = max(len(ids) for ids in self.obligatory.values())
        routed = obligatory + 1
        if not self.group_picks:
            return routed if lower_top_k else max(routed, self.top_k)
        per_group = max(self.group_picks, math.ceil(routed / self.num_groups))
        if not lower_top_k:  # top-k must fit into the groups that a token may use
            per_group = max(per_group, math.ceil(self.top_k / self.top_k_groups))
        return per_group * self.num_groups
