from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from emo_prune.errors import EvaluationError, GateFailed
from emo_prune.evaluation import (
    CategoryResult,
    Question,
    Results,
    Settings,
    TaskResult,
    check_gates,
    compare,
)
from emo_prune.evaluation.statistics import weighted_mean


def _results(
    model: str,
    rising: bool = True,
    weights: Any = None,
    **categories: Sequence[float] | np.ndarray,
) -> Results:
    """Results with made-up scores; document i of a category has hash i."""
    tasks = []
    for name, values in categories.items():
        scores = [float(value) for value in values]
        mean = weighted_mean(scores, weights or [1.0] * len(scores))
        tasks.append(
            TaskResult(
                name=f"task_{name}",
                category=name,
                metric="acc",
                higher_is_better=rising,
                value=mean.value,
                stderr=mean.stderr,
                n=mean.n,
                metrics={"acc,none": mean.value},
                questions=tuple(
                    Question(
                        document_sha256=f"{name}{i}",
                        score=s,
                        weight=weights[i] if weights else 1.0,
                    )
                    for i, s in enumerate(scores)
                ),
            )
        )
    counted = [t for t in tasks if t.category != "other"]
    return Results(
        model=model,
        task="mmlu",
        settings=Settings(
            num_fewshot=5,
            answer="letter",
            protocol="standard",
            limit=None,
            max_length=4096,
            dtype="float32",
        ),
        metric="acc",
        higher_is_better=rising,
        value=sum(t.value for t in counted) / len(counted),
        stderr=None,
        n=sum(t.n for t in counted),
        categories=tuple(
            CategoryResult(
                name=t.category,
                in_headline=t.category != "other",
                value=t.value,
                stderr=t.stderr,
                n=t.n,
            )
            for t in tasks
        ),
        tasks=tuple(tasks),
        num_truncated=0,
        prompts_sha256="",
        documents_sha256="",
        versions={},
    )


def test_the_difference_is_paired() -> None:
    draw = np.random.default_rng(0)
    before = draw.integers(0, 2, 400)
    after = np.where(draw.random(400) < 0.1, 1 - before, before)
    found = compare(_results("a", x=after), _results("b", x=before)).headline
    d = after - before
    assert found.difference == pytest.approx(100 * d.mean())
    padded = np.concatenate([d, [1, -1]])
    half = 100 * stats.norm.ppf(0.975) * padded.std(ddof=1) / math.sqrt(len(padded))
    assert found.interval is not None
    assert found.interval[1] - found.difference == pytest.approx(half, rel=1e-3)
    unpaired = 196 * math.sqrt((after.var() + before.var()) / 400)
    assert half < unpaired / 2
    assert found.recovery == pytest.approx(100 * after.mean() / before.mean())


def test_the_interval_covers_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        before = (draw.random(60) < 0.6).astype(float)
        after = np.where(draw.random(60) < 0.2, draw.random(60) < 0.5, before)
        truth = 0.2 * (0.5 - 0.6) * 100
        low, high = compare(
            _results("a", x=after), _results("b", x=before)
        ).headline.interval or (0, 0)
        covered += low <= truth <= high
    assert 0.93 <= covered / 400 <= 0.99


def test_agreement_on_few_questions_is_no_certainty() -> None:
    same = [1, 0, 1]
    interval = compare(_results("a", x=same), _results("b", x=same)).headline.interval
    assert interval is not None
    assert interval[0] < -30 < 30 < interval[1]


def test_the_headline_weighs_categories_alike_and_leaves_other_out() -> None:
    ours = _results("a", x=[1, 1], y=[0] * 8, other=[0, 0])
    theirs = _results("b", x=[1, 0], y=[1, 0] * 4, other=[1, 1])
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
    found = compare(_results("a", x=[1, 1, 1]), _results("b", x=[0, 1]))
    assert (found.headline.n, found.num_unmatched) == (2, 1)
    assert found.headline.difference == 50


def test_equal_documents_are_matched_in_order() -> None:
    twice = _results("a", x=[1, 0])
    task = twice.tasks[0]
    same = tuple(replace(q, document_sha256="d") for q in task.questions)
    twice = replace(twice, tasks=(replace(task, questions=same),))
    found = compare(twice, twice)
    assert (found.headline.n, found.num_unmatched) == (2, 0)


def test_bits_per_byte_are_weighted_by_bytes_and_fall() -> None:
    ours = _results("a", rising=False, weights=[10.0, 30.0], x=[2.0, 4.0])
    theirs = _results("b", rising=False, weights=[10.0, 30.0], x=[1.0, 3.0])
    comparison = compare(ours, theirs)
    found = comparison.headline
    assert (found.value, found.baseline) == (3.5, 2.5)
    assert comparison.unit == comparison.metric  # no points: bits differ by bits
    assert found.difference == pytest.approx(1.0)
    assert found.interval is not None
    assert list(found.interval) == pytest.approx([1.0, 1.0])
    assert found.recovery == pytest.approx(100 * 2.5 / 3.5)
    with pytest.raises(GateFailed):
        check_gates(compare(ours, theirs), max_drop=0.99)


def test_other_prompts_are_refused() -> None:
    ours, theirs = _results("a", x=[1]), _results("b", x=[1])
    theirs = replace(theirs, settings=replace(theirs.settings, num_fewshot=0))
    with pytest.raises(EvaluationError, match="num_fewshot"):
        compare(ours, theirs)


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(EvaluationError, match="in common"):
        compare(_results("a", x=[1]), _results("b", y=[1]))


def test_gates_judge_the_point_estimate() -> None:
    found = compare(_results("a", x=[1, 1, 1, 0]), _results("b", x=[1] * 4))
    check_gates(found)
    check_gates(found, max_drop=25, min_recovery=75)
    with pytest.raises(GateFailed) as lost:
        check_gates(found, max_drop=24.9)
    assert "-25.00" in str(lost.value)
    with pytest.raises(GateFailed, match=r"75\.0 %") as left:
        check_gates(found, min_recovery=75.1)
    assert left.value.exit_code == 3


def test_a_gain_passes_a_gate_of_no_loss() -> None:
    check_gates(compare(_results("a", x=[1, 1]), _results("b", x=[1, 0])), max_drop=0)


def test_recovery_of_nothing_fails_its_gate() -> None:
    found = compare(_results("a", x=[1]), _results("b", x=[0]))
    assert found.headline.recovery is None
    with pytest.raises(GateFailed, match="no baseline"):
        check_gates(found, min_recovery=50)
