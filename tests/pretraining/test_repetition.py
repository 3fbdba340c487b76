from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_prune.pretraining.windows import Window, collate, repeats_itself


def by_definition(tokens: list[int], times: int) -> bool:
    return any(
        tokens[start : start + period * times] == tokens[start : start + period] * times
        for period in range(1, 14)
        for start in range(len(tokens) - period * times + 1)
    )


@given(st.lists(st.integers(0, 2), min_size=2, max_size=40), st.integers(2, 5))
def test_repetition_follows_the_definition(tokens: list[int], times: int) -> None:
    assert repeats_itself(np.array(tokens), times) == by_definition(tokens, times)


@pytest.mark.parametrize(("period", "found"), [(1, True), (13, True), (14, False)])
def test_longer_periods_are_no_repetition(period: int, found: bool) -> None:
    assert repeats_itself(np.array(list(range(period)) * 4), 4) == found


def test_windows_that_repeat_themselves_have_no_labels() -> None:
    window = Window(
        tokens=np.array([5, 9, 9, 9, 9, 7, 1, 3]),
        starts=np.array([0]),
        pool_sizes=None,
    )
    plain = replace(window, tokens=np.array([5, 9, 9, 9, 2, 7, 1, 3]))
    labels = collate([window, plain], document_masking=True, max_repeats=4)["labels"]
    assert (labels[0] == -100).all()
    assert labels[1].tolist() == plain.tokens.tolist()
    every = collate([window, plain], document_masking=True)["labels"]
    assert (every != -100).all()
