"""An MoE checkpoint whose experts are known: its layers, and what its router needs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from emo_prune.architectures.feed_forward import Carving
from emo_prune.architectures.table import LAYERS, Architecture
from emo_prune.checkpoint import Checkpoint, Tensor

NUMBER = r"(?:0|[1-9][0-9]{0,5})"  # one spelling each, and none too long to be read
LAYER = re.compile(rf"^(?:.+\.)?{LAYERS}\.(?P<layer>{NUMBER})\.(?P<rest>.+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class MoELayer:
    """One layer with experts.

    `experts[i]` are the tensors of expert i, where the checkpoint stores each expert
    by name; `stacked` those whose axis 0 is the expert; `router` those with one row
    per expert. `shared` and `always_active` are expert ids that fire for every token.
    """

    layer: int
    num_experts: int
    experts: tuple[tuple[Tensor, ...], ...]
    stacked: tuple[Tensor, ...]
    router: tuple[Tensor, ...]
    shared: tuple[int, ...]
    always_active: tuple[int, ...]

    @property
    def obligatory(self) -> tuple[int, ...]:
        """Expert ids that every selection keeps, ascending."""
        return tuple(sorted({*self.shared, *self.always_active}))

    @property
    def of_experts(self) -> tuple[Tensor, ...]:
        """The experts' own tensors: stacked, and of one expert each."""
        return (*self.stacked, *chain.from_iterable(self.experts))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Every tensor with an expert axis, or of one expert."""
        return (*self.router, *self.of_experts)

    @property
    def expert_bytes(self) -> int:
        """Bytes of the experts' own tensors, router excluded."""
        return sum(t.num_bytes for t in self.of_experts)

    @property
    def router_bytes(self) -> int:
        """Bytes of the router's rows."""
        return sum(t.num_bytes for t in self.router)


@dataclass(frozen=True, slots=True, kw_only=True)
class MoEModel:
    """A checkpoint whose experts have been found.

    `num_groups` is 1 where routing is not limited to groups. `predictors` are tensors
    of multi-token-prediction layers: they have experts but route no calibration token.
    `carving` says how a dense model was carved into this one (EMoE).
    """

    checkpoint: Checkpoint
    architecture: Architecture
    num_layers: int
    layers: tuple[MoELayer, ...]
    num_experts: int
    num_shared_experts: int
    top_k: int
    num_groups: int
    top_k_groups: int
    other: tuple[Tensor, ...]
    predictors: tuple[Tensor, ...]
    carving: Carving | None = None

    @property
    def config(self) -> Mapping[str, Any]:
        """The checkpoint's config."""
        return self.checkpoint.config

    def layer(self, index: int) -> MoELayer | None:
        """Return a layer with experts; None for a dense one."""
        return next((layer for layer in self.layers if layer.layer == index), None)

    def dense_tensors(self, index: int) -> tuple[Tensor, ...]:
        """Return a layer's tensors without an expert axis."""
        places = ((tensor, LAYER.match(tensor.name)) for tensor in self.other)
        return tuple(t for t, at in places if at and int(at["layer"]) == index)


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
