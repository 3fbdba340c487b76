from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emo_prune.errors import EvaluationError, GateFailed, SettingsError
from emo_prune.evaluation import (
    Comparison,
    Gates,
    Verdict,
    check_gates,
    compare,
    judge,
)
from tests.evaluation.made_up import made_up_results


def _answers(n: int, lost: int, won: int) -> Comparison:
    """A comparison of n questions, of which some flipped; the baseline has 3/4."""
    theirs = [1] * lost + [0] * won + [1, 1, 1, 0] * ((n - lost - won) // 4)
    ours = [0] * lost + [1] * won + theirs[lost + won :]
    return compare(made_up_results("a", x=ours), made_up_results("b", x=theirs))


def _bits(ours: list[float], theirs: list[float]) -> Comparison:
    of: Any = {"rising": False, "metric": "bits_per_byte"}
    return compare(
        made_up_results("a", **of, x=ours), made_up_results("b", **of, x=theirs)
    )


def _one(comparison: Comparison, **gates: Any) -> Verdict:
    (verdict,) = judge(comparison, Gates(**gates))
    return verdict


def test_gates_judge_the_point_estimate() -> None:
    found = compare(
        made_up_results("a", x=[1, 1, 1, 0]), made_up_results("b", x=[1] * 4)
    )
    check_gates(judge(found, Gates()))
    check_gates(judge(found, Gates(max_drop=25, min_recovery=75)))
    with pytest.raises(GateFailed) as lost:
        check_gates(judge(found, Gates(max_drop=24.9)))
    assert "-25.00" in str(lost.value)
    with pytest.raises(GateFailed, match=r"75\.0 %") as left:
        check_gates(judge(found, Gates(min_recovery=75.1)))
    assert left.value.exit_code == 3


def test_a_gain_passes_a_gate_of_no_loss() -> None:
    found = compare(made_up_results("a", x=[1, 1]), made_up_results("b", x=[1, 0]))
    check_gates(judge(found, Gates(max_drop=0)))


def test_recovery_of_nothing_fails_its_gate() -> None:
    found = compare(made_up_results("a", x=[1]), made_up_results("b", x=[0]))
    assert found.headline.recovery is None
    with pytest.raises(GateFailed, match="no baseline"):
        check_gates(judge(found, Gates(min_recovery=50)))


def test_bits_that_rose_breach_a_gate_on_their_own_unit() -> None:
    found = _bits([2.0, 4.0], [1.0, 3.0])
    assert _one(found, max_drop=1.0).met
    assert not _one(found, max_drop=0.99).met


def test_a_confidence_judges_the_worse_end_of_its_interval() -> None:
    found = _answers(400, 12, 8)
    band = found.headline.interval
    assert band is not None
    drop, left = judge(found, Gates(max_drop=1.5, min_recovery=97, confidence=0.95))
    assert drop.judged == pytest.approx(-band[0])
    assert _one(found, max_drop=1.5).met
    assert not drop.met
    whole = found.headline.baseline
    assert left.judged == pytest.approx(100 * (whole + band[0] / 100) / whole)
    assert not left.met
    assert _one(found, max_drop=1.5, confidence=0.5).judged < drop.judged  # type: ignore[operator]


def test_a_confidence_on_bits_judges_their_rise() -> None:
    found = _bits([1.1, 2.2, 3.1], [1.0, 2.0, 3.0])
    band = found.headline.interval
    assert band is not None
    assert _one(found, max_drop=1, confidence=0.95).judged == pytest.approx(band[1])
    left = _one(found, min_recovery=50, confidence=0.95).judged
    assert left == pytest.approx(100 * 2.0 / (2.0 + band[1]))


def test_perplexity_rises_by_two_to_the_bits() -> None:
    found = _bits([2.0, 4.0], [1.9, 3.9])
    increase = 100 * (2**0.1 - 1)
    verdict = _one(found, max_ppl_increase=increase + 0.01)
    assert verdict.judged == pytest.approx(increase)
    assert verdict.met
    with pytest.raises(GateFailed, match="perplexity") as failed:
        check_gates(judge(found, Gates(max_ppl_increase=increase - 0.01)))
    assert "+7.18 %" in str(failed.value)


def test_a_perplexity_too_large_for_a_float_is_a_breach_like_any() -> None:
    assert not _one(_bits([5000.0] * 2, [1.0] * 2), max_ppl_increase=5).met


def test_perplexity_of_answers_is_refused() -> None:
    with pytest.raises(EvaluationError, match="texts only") as refused:
        judge(_answers(20, 1, 1), Gates(max_ppl_increase=5))
    assert "max_drop" in refused.value.hint


def test_confidence_without_an_interval_is_refused() -> None:
    with pytest.raises(EvaluationError, match="no interval"):
        judge(_bits([1.5], [1.5]), Gates(max_drop=1, confidence=0.95))


def test_a_gate_that_few_questions_cannot_test_says_so_and_fails_if_strict() -> None:
    few = _answers(100, 5, 5)
    verdict = _one(few, max_drop=1.0)
    assert verdict.detectable == few.headline.min_detectable_drop
    assert verdict.detectable is not None
    assert verdict.detectable > 5
    assert not verdict.sees
    assert verdict.passed
    check_gates([verdict])
    with pytest.raises(GateFailed, match="cannot see") as blind:
        check_gates(judge(few, Gates(max_drop=1.0, strict=True)))
    assert "strict" in blind.value.hint
    many = _answers(40_000, 1000, 1000)
    assert _one(many, max_drop=1.0, strict=True).passed


def test_every_gate_knows_what_it_would_see() -> None:
    found = _answers(400, 8, 8)
    seen = found.headline.min_detectable_drop
    assert seen is not None
    left = _one(found, min_recovery=95)
    assert left.guarded == pytest.approx(5)
    assert left.detectable == pytest.approx(seen / found.headline.baseline)
    text = _bits([1.1, 2.2, 3.1], [1.0, 2.0, 3.0])
    bits = text.headline.min_detectable_drop
    assert bits is not None
    seen_rise = _one(text, max_ppl_increase=5).detectable
    assert seen_rise == pytest.approx(100 * (2**bits - 1))


def test_what_has_no_standard_error_sees_nothing() -> None:
    verdict = _one(_bits([1.5], [1.5]), max_drop=1, strict=True)
    assert (verdict.detectable, verdict.sees, verdict.passed) == (None, False, False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_drop": float("nan")},
        {"min_recovery": float("inf")},
        {"max_ppl_increase": float("-inf")},
        {"confidence": 95},
        {"confidence": 0},
        {"confidence": float("nan")},
    ],
)
def test_gates_that_are_no_numbers_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError) as refused:
        Gates(**wrong)  # type: ignore[arg-type]
    assert refused.value.hint.startswith("try ")


@given(
    st.integers(0, 30),
    st.integers(0, 30),
    st.floats(-50, 50),
    st.sampled_from([0.5, 0.8, 0.9, 0.99]),
)
def test_what_passes_with_confidence_passes_without(
    lost: int, won: int, limit: float, confidence: float
) -> None:
    found = _answers(200, lost, won)
    if _one(found, max_drop=limit, confidence=confidence).met:
        assert _one(found, max_drop=limit).met
    share = 100 - limit
    if _one(found, min_recovery=share, confidence=confidence).met:
        assert _one(found, min_recovery=share).met
