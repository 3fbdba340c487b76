"""What `--keep` may say, and what each router can live with."""

from __future__ import annotations

from typing import Any

import pytest

from emo_prune.errors import BudgetError
from emo_prune.selection import Limits, parse_keep, resolve_budget
from tests.wording import hint_of


def limits(total: int = 16, always: tuple[int, ...] = (), **changes: Any) -> Limits:
    settings: dict[str, Any] = {
        "num_experts": {0: total, 1: total},
        "obligatory": {0: always, 1: always},
        "num_shared_experts": 0,
        "top_k": 4,
        "num_groups": 1,
        "top_k_groups": 1,
        "group_picks": 0,
    }
    return Limits(**(settings | changes))


EMO = limits(128, (127,), top_k=8, num_shared_experts=1)
GROUPED = limits(64, top_k=6, num_groups=8, top_k_groups=3, group_picks=2)
DEEPSEEK_V2 = limits(64, top_k=6, num_groups=8, top_k_groups=3, group_picks=1)


@pytest.mark.parametrize(
    ("text", "of_128"),
    [
        ("12.5%", 16),
        (" 12.5% ", 16),
        ("0.125", 16),
        (".125", 16),
        ("16", 16),
        ("100%", 128),
        ("1.0", 128),
        ("1", 1),
        ("128", 128),
        ("50.4%", 64),
        ("0.29", 37),
        ("1.25e-1", 16),
        ("0.1%", 0),
        ("1000", 1000),
    ],
)
def test_keep_is_a_share_or_a_count(text: str, of_128: int) -> None:
    keep = parse_keep(text)
    assert keep.of(128) == of_128
    assert keep.text == text.strip()


def test_shares_are_not_lost_to_rounding() -> None:
    for total in (8, 60, 64, 100, 128, 384):
        for count in range(1, total + 1):
            assert parse_keep(repr(count / total)).of(total) == count
            assert parse_keep(f"{100 * count / total!r}%").of(total) == count


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "0%", "-5%", "0.0", "-0.5", "nan", "nan%", "inf", "-inf%", "200%",
     "1.5", "100.1%", "%", "half", "16 experts", "0x10", "1e9", "1e400%", "9" * 5000],
    ids=lambda text: text[:10],
)  # fmt: skip
def test_anything_else_is_named(text: str) -> None:
    with pytest.raises(BudgetError) as caught:
        parse_keep(text)
    assert "--keep" in hint_of(caught.value)


@pytest.mark.parametrize(
    ("keep", "given", "lower", "num_experts", "top_k"),
    [
        ("12.5%", EMO, False, 16, 8),
        ("8", EMO, False, 8, 8),
        ("4", EMO, True, 4, 4),
        ("2", EMO, True, 2, 2),
        ("100%", EMO, False, 128, 8),
        ("100%", limits(16), True, 16, 4),
        ("1", limits(16), True, 1, 1),
        ("25%", GROUPED, False, 16, 6),
        ("16", GROUPED, True, 16, 6),
        # six experts of a token do not fit into three groups of one
        ("8", DEEPSEEK_V2, True, 8, 3),
        ("16", DEEPSEEK_V2, False, 16, 6),
    ],
)
def test_budget_that_the_router_can_live_with(
    keep: str, given: Limits, lower: bool, num_experts: int, top_k: int
) -> None:
    budget = resolve_budget(parse_keep(keep), given, lower_top_k=lower)
    assert (budget.num_experts, budget.top_k) == (num_experts, top_k)


@pytest.mark.parametrize(
    ("keep", "given", "lower", "hint"),
    [
        ("129", EMO, False, "use --keep 128 or less"),
        ("7", EMO, False, "use --keep 8 (6.25%) or more, or --lower-top-k"),
        ("0.1%", EMO, False, "use --keep 8 (6.25%) or more"),
        ("1", EMO, False, "use --keep 8 (6.25%) or more"),
        ("1", EMO, True, "use --keep 2 (1.5625%) or more"),
        ("3", limits(16), False, "use --keep 4 (25%) or more, or --lower-top-k"),
        ("17", GROUPED, False, "use --keep 16 or --keep 24"),
        ("8", GROUPED, False, "use --keep 16 (25%) or more"),
        ("8", GROUPED, True, "use --keep 16 (25%) or more"),
        ("12", DEEPSEEK_V2, False, "use --keep 16 (25%) or more, or --lower-top-k"),
        ("12", DEEPSEEK_V2, True, "use --keep 8 or --keep 16"),
    ],
)
def test_budget_that_it_cannot_live_with_is_named(
    keep: str, given: Limits, lower: bool, hint: str
) -> None:
    with pytest.raises(BudgetError) as caught:
        resolve_budget(parse_keep(keep), given, lower_top_k=lower)
    assert hint in hint_of(caught.value)
    assert ("--lower-top-k" in hint) == ("--lower-top-k" in hint_of(caught.value))


@pytest.mark.parametrize("given", [EMO, GROUPED, DEEPSEEK_V2, limits(16)])
@pytest.mark.parametrize("lower", [False, True])
def test_every_hint_works(given: Limits, lower: bool) -> None:
    for count in range(1, max(given.num_experts.values()) + 2):
        try:
            resolve_budget(parse_keep(str(count)), given, lower_top_k=lower)
        except BudgetError as error:
            suggested = [word for word in hint_of(error).split() if word.isdigit()]
            if not suggested:
                continue
            for number in suggested:
                resolve_budget(parse_keep(number), given, lower_top_k=lower)


def test_layer_with_fewer_experts_keeps_what_it_has() -> None:
    uneven = limits(16, num_experts={0: 16, 1: 6})
    budget = resolve_budget(parse_keep("50%"), uneven)
    assert [budget.of_layer(n) for n in (16, 6)] == [8, 6]
