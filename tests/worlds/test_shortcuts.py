"""No world can be answered without reading the question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from benchmarks.worlds import WORLDS, Question

from .every import of_split


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _share(asked: list[Question], guesses: list[str]) -> float:
    right = sum(one.right == guess for one, guess in zip(asked, guesses, strict=True))
    return right / len(asked)


def test_the_most_common_answer_is_seldom_right(world: str) -> None:
    common = Counter(one.right for one in of_split(world, "train"))
    asked = of_split(world, "test")
    guesses = [max(one.choices, key=lambda c: common[c]) for one in asked]
    assert _share(asked, guesses) < 0.45


def test_the_rarest_answer_is_seldom_right(world: str) -> None:
    common = Counter(one.right for one in of_split(world, "train"))
    asked = of_split(world, "test")
    guesses = [min(one.choices, key=lambda c: common[c]) for one in asked]
    assert _share(asked, guesses) < 0.45


@pytest.mark.parametrize("pick", [max, min])
def test_the_longest_or_shortest_choice_is_seldom_right(
    world: str, pick: Callable[..., str]
) -> None:
    asked = of_split(world, "test")
    guesses = [pick(one.choices, key=len) for one in asked]
    assert _share(asked, guesses) < 0.45


def test_a_choice_that_the_question_names_is_seldom_right(world: str) -> None:
    asked = of_split(world, "test")
    guesses = [
        max(one.choices, key=lambda c: f" {c} " in f" {one.question[:-1]} ")
        for one in asked
    ]
    assert _share(asked, guesses) < 0.45
