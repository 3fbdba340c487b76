"""What a model would have read, if it ran the passes one after the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from emo_prune.evaluation.prefixes import (
    Capacity,
    ForwardPass,
    TokenRequest,
    plan_passes,
)

Read = tuple[int, ...]


def paths(one: ForwardPass, cache: list[Read]) -> list[Read]:
    """What each token of a pass has read, itself included."""
    found: list[Read] = []
    for token, parent in zip(one.tokens, one.parents, strict=True):
        before = found[parent] if parent >= 0 else (cache[-1] if cache else ())
        found.append((*before, token))
    return found


def run(
    passes: Sequence[ForwardPass],
) -> tuple[dict[int, list[tuple[Read, int]]], int]:
    """What each request was told of, in order, and how many tokens were computed."""
    told: dict[int, list[tuple[Read, int]]] = defaultdict(list)
    cache: list[Read] = []
    for one in passes:
        assert one.kept <= len(cache)
        cache = cache[: one.kept]
        assert all(len(read) == place + 1 for place, read in enumerate(cache))
        found = paths(one, cache)
        assert one.positions == [len(read) - 1 for read in found]
        for target in one.targets:
            told[target.request].append((found[target.index], target.token))
        cache += found
    return told, sum(len(one.tokens) for one in passes)


def expected(request: TokenRequest) -> list[tuple[Read, int]]:
    first = len(request.tokens) - len(request.targets)
    return [
        (request.tokens[: first + place + 1], token)
        for place, token in enumerate(request.targets)
    ]


def trie_size(requests: Sequence[TokenRequest]) -> int:
    return len(
        {
            request.tokens[:length]
            for request in requests
            for length in range(1, len(request.tokens) + 1)
        }
    )


@st.composite
def requests(draw: st.DrawFn) -> list[TokenRequest]:
    """Rows that share long runs, short ones, or all they have."""
    blocks = st.lists(st.tuples(st.integers(0, 1), st.sampled_from([1, 3, 40])))
    found = []
    for row in draw(st.lists(blocks.filter(bool), max_size=12)):
        tokens = tuple(token for token, length in row for _ in range(length))
        number = draw(st.integers(1, len(tokens)))
        targets = draw(st.tuples(*[st.integers(0, 1)] * number))
        found.append(TokenRequest(tokens=tokens, targets=targets))
    return found


capacities = st.builds(
    Capacity, tokens=st.integers(1, 200), prompts=st.none() | st.integers(1, 5)
)


@given(requests(), capacities)
def test_every_target_is_read_once_after_the_whole_of_its_prompt(
    asked: list[TokenRequest], capacity: Capacity
) -> None:
    told, _ = run(list(plan_passes(asked, capacity)))
    assert told == {number: expected(request) for number, request in enumerate(asked)}


@given(requests(), capacities)
def test_no_pass_holds_more_than_it_may(
    asked: list[TokenRequest], capacity: Capacity
) -> None:
    for one in plan_passes(asked, capacity):
        assert 0 < len(one.tokens) <= capacity.tokens
        leaves = set(range(len(one.tokens))) - set(one.parents)
        assert len(leaves) <= (capacity.prompts or len(leaves))


@given(requests())
def test_with_room_for_all_there_is_one_pass_and_no_token_twice(
    asked: list[TokenRequest],
) -> None:
    passes = list(plan_passes(asked, Capacity(tokens=10**6)))
    assert len(passes) == bool(asked)
    assert run(passes)[1] == trie_size(asked)


def test_demonstrations_and_questions_are_computed_once() -> None:
    asked = [
        TokenRequest(
            tokens=(subject,) * 200 + (question,) * 40 + (answer,) * length,
            targets=(answer,) * length,
        )
        for subject in range(3)
        for question in range(10)
        for answer, length in enumerate((1, 2, 2, 5))
    ]
    passes = list(plan_passes(asked, Capacity(tokens=256)))
    assert run(passes)[1] == trie_size(asked) == 3 * (200 + 10 * (40 + 10))
    assert len(passes) == 3 * (1 + 2)  # demonstrations, then five questions at a time


def test_prompts_in_any_order_and_number_give_the_same_passes() -> None:
    asked = [TokenRequest(tokens=(1,) * n, targets=(1,)) for n in (3, 50, 7, 7)]
    forward = [one.tokens for one in plan_passes(asked, Capacity(tokens=20))]
    back = [one.tokens for one in plan_passes(asked[::-1], Capacity(tokens=20))]
    assert forward == back


def test_thousands_of_prompts_nested_in_each_other_are_no_problem() -> None:
    asked = [TokenRequest(tokens=(1,) * n, targets=(1,)) for n in range(1, 1100)]
    told, computed = run(list(plan_passes(asked, Capacity(tokens=64, prompts=1))))
    assert len(told) == len(asked)
    assert computed == trie_size(asked)
