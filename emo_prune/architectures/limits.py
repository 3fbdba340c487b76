"""What a router needs of a selection."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

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

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready value."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Limits:
        """Return the limits that `to_json` gave.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: it did not give these.
        """
        num_experts = {int(k): _natural(v) for k, v in value["num_experts"].items()}
        obligatory = {
            int(k): tuple(_natural(expert) for expert in v)
            for k, v in value["obligatory"].items()
        }
        if num_experts.keys() != obligatory.keys() or not num_experts:
            raise ValueError("the limits name different layers, or none")
        numbers = {k: _natural(value[k]) for k in _NUMBERS}
        return cls(num_experts=num_experts, obligatory=obligatory, **numbers)


_NUMBERS = ("num_shared_experts", "top_k", "num_groups", "top_k_groups", "group_picks")


def _natural(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value
