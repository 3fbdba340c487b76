"""How many experts stay, and whether the router can live with that."""

from __future__ import annotations

import math
from dataclasses import dataclass

from emo_prune.architectures import Limits
from emo_prune.errors import BudgetError, Parameter


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


def parse_keep(keep: str | int | float, where: Parameter = Parameter("keep")) -> Keep:
    """Read `12.5%`, `0.125` or `16`.

    Raises:
        BudgetError: it is none of these, or not above zero.
    """
    raw = str(keep).strip()
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
        where=where,
        got=f"{keep!r:.200}",
        expected="12.5%, 0.125 or 16",
        hint=("try ", Parameter(where.name, "12.5%")),
    )


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
            where=Parameter("keep"),
            got=f"{keep.text}, that is {wanted}",
            expected=f"at most {total}",
            hint=("use ", Parameter("keep", total), " or less"),
        )
    least = limits.least(lower_top_k=lower_top_k)
    if wanted < least:
        lowest = limits.least(lower_top_k=True)
        share = 100 * least / total
        lower = Parameter("lower_top_k", True)
        fewer = (", or ", lower, " to let the router pick fewer")
        raise BudgetError(
            "the budget keeps fewer experts than the router needs",
            where=Parameter("keep"),
            got=f"{keep.text}, that is {wanted} of {total} experts",
            expected=f"at least {least} (the router picks {limits.top_k} a token"
            + (f" from {limits.num_groups} groups)" if limits.group_picks else ")"),
            hint=(
                *("use ", Parameter("keep", least), f" ({share:g}%) or more"),
                fewer if not lower_top_k and wanted >= lowest else "",
            ),
        )
    _check_groups(wanted, limits)
    reachable = wanted
    if limits.group_picks:
        reachable = wanted // limits.num_groups * limits.top_k_groups
    return Budget(keep=keep, num_experts=wanted, top_k=min(limits.top_k, reachable))


def _check_groups(wanted: int, limits: Limits) -> None:
    if limits.group_picks and wanted % limits.num_groups:
        down = wanted - wanted % limits.num_groups
        raise BudgetError(
            "the router's groups must stay equally large",
            where=Parameter("keep"),
            got=f"{wanted} experts for {limits.num_groups} groups",
            expected=f"a multiple of {limits.num_groups}",
            hint=(
                *("use ", Parameter("keep", down or limits.num_groups)),
                *(" or ", Parameter("keep", down + limits.num_groups)),
            ),
        )
