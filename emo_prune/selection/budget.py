"""How many experts stay, and whether the router can live with that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from emo_prune.architectures import MoEModel
from emo_prune.errors import BudgetError


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """A budget as the user wrote it: a share of the experts, or a number of them."""

    text: str
    share: float | None
    count: int | None

    def of(self, num_experts: int) -> int:
        """Return the number of experts to keep, rounded down."""
        if self.count is not None:
            return self.count
        # 1e-9: 0.29 * 100 must be 29, not 28.999...
        return math.floor((self.share or 0.0) * num_experts + 1e-9)


def parse_keep(text: str) -> Keep:
    """Read `12.5%`, `0.125` or `16`.

    Raises:
        BudgetError: it is none of these, or not above zero.
    """
    raw = text.strip()
    try:
        if raw.endswith("%"):
            share, count = float(raw[:-1]) / 100, None
        elif any(mark in raw for mark in ".eE"):
            share, count = float(raw), None
        else:
            share, count = None, int(raw)
    except ValueError:
        share, count = math.nan, None
    if count is None and share is not None and 0 < share <= 1:
        return Keep(text=raw, share=share, count=None)
    if count is not None and count > 0:
        return Keep(text=raw, share=None, count=count)
    raise BudgetError(
        "the budget is not a share or a number of experts",
        where="--keep",
        got=repr(text),
        expected="12.5%, 0.125 or 16",
        hint="try --keep 12.5%",
    )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A budget that the router can live with: experts per layer, and their top-k."""

    keep: Keep
    num_experts: int
    top_k: int

    def of_layer(self, num_experts: int) -> int:
        """Return how many of a layer's experts stay: no more than it has."""
        return min(self.num_experts, num_experts)


def resolve_budget(keep: Keep, limits: Limits, *, lower_top_k: bool = False) -> Budget:
    """Turn what the user wrote into a number of experts, the same in every layer.

    Raises:
        BudgetError: more experts than there are, or fewer than the router needs.
    """
    total = max(limits.num_experts.values())
    wanted = keep.of(total)
    if wanted > total:
        raise BudgetError(
            "the budget asks for more experts than the model has",
            where="--keep",
            got=f"{keep.text}, that is {wanted}",
            expected=f"at most {total}",
            hint=f"use --keep {total} or less",
        )
    least = _least(limits, lower_top_k=lower_top_k)
    if wanted < least:
        lowest = _least(limits, lower_top_k=True)
        share = 100 * least / total
        raise BudgetError(
            "the budget keeps fewer experts than the router needs",
            where="--keep",
            got=f"{keep.text}, that is {wanted} of {total} experts",
            expected=f"at least {least} (the router picks {limits.top_k} a token"
            + (f" from {limits.num_groups} groups)" if limits.group_picks else ")"),
            hint=f"use --keep {least} ({share:g}%) or more"
            + (
                ", or --lower-top-k to let the router pick fewer"
                if not lower_top_k and wanted >= lowest
                else ""
            ),
        )
    _check_groups(wanted, limits)
    reachable = wanted
    if limits.group_picks:
        reachable = wanted // limits.num_groups * limits.top_k_groups
    return Budget(keep=keep, num_experts=wanted, top_k=min(limits.top_k, reachable))


def _least(limits: Limits, *, lower_top_k: bool) -> int:
    """Return the smallest number of experts that the router works with."""
    obligatory = max(len(ids) for ids in limits.obligatory.values())
    routed = obligatory + 1
    if not limits.group_picks:
        return routed if lower_top_k else max(routed, limits.top_k)
    per_group = max(limits.group_picks, math.ceil(routed / limits.num_groups))
    if not lower_top_k:  # top-k must fit into the groups that a token may use
        per_group = max(per_group, math.ceil(limits.top_k / limits.top_k_groups))
    return per_group * limits.num_groups


def _check_groups(wanted: int, limits: Limits) -> None:
    if limits.group_picks and wanted % limits.num_groups:
        down = wanted - wanted % limits.num_groups
        raise BudgetError(
            "the router's groups must stay equally large",
            where="--keep",
            got=f"{wanted} experts for {limits.num_groups} groups",
            expected=f"a multiple of {limits.num_groups}",
            hint=f"use --keep {down or limits.num_groups} or "
            f"--keep {down + limits.num_groups}",
        )
