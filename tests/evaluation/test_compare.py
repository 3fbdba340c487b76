from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from scipy import stats

from emo_prune.errors import EvaluationError
from emo_prune.evaluation import compare, flips
from tests.evaluation.made_up import made_up_results


def test_the_difference_is_paired() -> None:
    draw = np.random.default_rng(0)
    before = draw.integers(0, 2, 400)
    after = np.where(draw.random(400) < 0.1, 1 - before, before)
    found = compare(
        made_up_results("a", x=after), made_up_results("b", x=before)
    ).headline
    d = after - before
    assert found.difference == pytest.approx(100 * d.mean())
    padded = np.concatenate([d, [1, -1]])
    half = 100 * stats.norm.ppf(0.975) * padded.std(ddof=1) / math.sqrt(len(padded))
    assert found.interval is not None
    assert found.interval[1] - found.difference == pytest.approx(half, rel=1e-3)
    unpaired = 196 * math.sqrt((after.var() + before.var()) / 400)
    assert half < unpaired / 2
    assert found.recovery == pytest.approx(100 * after.mean() / before.mean())


def test_agreement_on_few_questions_is_no_certainty() -> None:
    same = [1, 0, 1]
    interval = compare(
        made_up_results("a", x=same), made_up_results("b", x=same)
    ).headline.interval
    assert interval is not None
    assert interval[0] < -30 < 30 < interval[1]


def test_the_headline_weighs_categories_alike_and_leaves_other_out() -> None:
    ours = made_up_results("a", x=[1, 1], y=[0] * 8, other=[0, 0])
    theirs = made_up_results("b", x=[1, 0], y=[1, 0] * 4, other=[1, 1])
    found = compare(ours, theirs)
    assert found.headline.difference == pytest.approx((50 - 50) / 2)
    assert (found.headline.name, found.headline.n) == ("mean of 2 categories", 10)
    assert [c.in_headline for c in found.categories] == [True, True, False]
    assert found.categories[2].difference == -100
    halves = [
        (c.interval[1] - c.difference) for c in found.categories[:2] if c.interval
    ]
    assert found.headline.interval is not None
    assert found.headline.interval[1] == pytest.approx(math.hypot(*halves) / 2)


def test_only_questions_both_answered_count() -> None:
    found = compare(made_up_results("a", x=[1, 1, 1]), made_up_results("b", x=[0, 1]))
    assert (found.headline.n, found.num_unmatched) == (2, 1)
    assert found.headline.difference == 50


def test_equal_documents_are_matched_in_order() -> None:
    twice = made_up_results("a", x=[1, 0])
    task = twice.tasks[0]
    same = tuple(replace(q, document_sha256="d") for q in task.questions)
    twice = replace(twice, tasks=(replace(task, questions=same),))
    found = compare(twice, twice)
    assert (found.headline.n, found.num_unmatched) == (2, 0)


def test_bits_per_byte_are_weighted_by_bytes_and_fall() -> None:
    ours = made_up_results("a", rising=False, weights=[10.0, 30.0], x=[2.0, 4.0])
    theirs = made_up_results("b", rising=False, weights=[10.0, 30.0], x=[1.0, 3.0])
    comparison = compare(ours, theirs)
    found = comparison.headline
    assert (found.value, found.baseline) == (3.5, 2.5)
    assert comparison.unit == comparison.metric  # no points: bits differ by bits
    assert found.difference == pytest.approx(1.0)
    assert found.interval is not None
    assert list(found.interval) == pytest.approx([1.0, 1.0])
    assert found.recovery == pytest.approx(100 * 2.5 / 3.5)


def test_other_prompts_are_refused() -> None:
    ours, theirs = made_up_results("a", x=[1]), made_up_results("b", x=[1])
    theirs = replace(theirs, settings=replace(theirs.settings, num_fewshot=0))
    with pytest.raises(EvaluationError, match="num_fewshot"):
        compare(ours, theirs)


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(EvaluationError, match="in common"):
        compare(made_up_results("a", x=[1]), made_up_results("b", y=[1]))


def test_flips_are_counted_by_category_and_over_the_headline() -> None:
    ours = made_up_results("a", x=[1, 0, 0, 1], y=[1, 0], other=[0, 0])
    theirs = made_up_results("b", x=[1, 1, 1, 0], y=[0, 0], other=[1, 0])
    found = compare(ours, theirs)
    assert [(c.lost, c.won) for c in found.categories] == [(2, 1), (0, 1), (1, 0)]
    head = found.headline
    assert (head.lost, head.won) == (2, 2)
    assert head.mcnemar_p == 1
    assert [(f.category, f.document_sha256, f.change) for f in flips(ours, theirs)] == [
        ("x", "x1", "lost"),
        ("x", "x2", "lost"),
        ("x", "x3", "won"),
        ("y", "y0", "won"),
        ("other", "other0", "lost"),
    ]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_flips_explain_the_whole_difference(pairs: list[tuple[bool, bool]]) -> None:
    ours = made_up_results("a", x=[ours for ours, _ in pairs])
    theirs = made_up_results("b", x=[theirs for _, theirs in pairs])
    head = compare(ours, theirs).headline
    assert head.lost is not None
    assert head.won is not None
    assert head.lost + head.won == len(flips(ours, theirs))
    assert head.difference == pytest.approx(100 * (head.won - head.lost) / len(pairs))
    swapped = compare(
        made_up_results("b", x=[theirs for _, theirs in pairs]),
        made_up_results("a", x=[ours for ours, _ in pairs]),
    ).headline
    assert (swapped.lost, swapped.won) == (head.won, head.lost)
    assert swapped.mcnemar_p == pytest.approx(head.mcnemar_p)
    assert swapped.min_detectable_drop == pytest.approx(head.min_detectable_drop)


def test_flips_carry_both_answers() -> None:
    sides = []
    for name, score, answer in (("a", 0, "C"), ("b", 1, "B")):
        made = made_up_results(name, x=[score])
        (task,) = made.tasks
        question = replace(task.questions[0], answer=answer)
        sides.append(replace(made, tasks=(replace(task, questions=(question,)),)))
    (flip,) = flips(*sides)
    assert (flip.change, flip.answer, flip.baseline_answer) == ("lost", "C", "B")


def test_bits_and_parts_of_a_point_do_not_flip() -> None:
    ours, theirs = made_up_results("a", x=[0, 0.5]), made_up_results("b", x=[1, 1])
    head = compare(ours, theirs).headline
    assert (head.lost, head.won, head.mcnemar_p) == (None, None, None)
    assert flips(ours, theirs) == ()
