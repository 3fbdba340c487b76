"""Judge a comparison: how much may be lost, and could so few questions show it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from emo_prune.errors import EvaluationError, GateFailed, Parameter
from emo_prune.evaluation.results import Comparison, Difference, Verdict
from emo_prune.evaluation.statistics import CONFIDENCE, two_sided
from emo_prune.options import EvaluateOptions
from emo_prune.options.values import (
    check_confidence,
    check_limit,
    rise_in_percent,
    share_in_percent,
)
from emo_prune.tasks import Task

GateName = Literal["--max-drop", "--min-recovery", "--max-ppl-increase"]

# The figure of tasks whose answers are right or wrong, where that is known beforehand.
_OF_ANSWERS = {"mmlu": "acc", "mmlu-pro": "acc", "gsm8k": "exact_match"}
_MOST_BITS = 1000.0  # 2 to this power is still a float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """What the headline must hold.

    max_drop: how much may be lost, in the comparison's unit (a gain is a negative
    loss). min_recovery: what per cent of the baseline must be left. max_ppl_increase:
    by how many per cent the perplexity per byte may rise. confidence: judge the worse
    end of this two-sided interval; None judges the point estimate. strict: a gate that
    cannot see the drop it guards against fails.

    Raises:
        SettingsError: a limit is not a finite number, or the confidence not between
            0 and 1.
    """

    max_drop: float | None = None
    min_recovery: float | None = None
    max_ppl_increase: float | None = None
    confidence: float | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        for name in ("max_drop", "min_recovery", "max_ppl_increase"):
            limit = getattr(self, name)
            if limit is not None:
                check_limit(limit, Parameter(name))
        if self.confidence is not None:
            check_confidence(self.confidence)

    @classmethod
    def of(cls, options: EvaluateOptions) -> Gates:
        """Return the gates that were asked for."""
        left, rise = options.min_recovery, options.max_ppl_increase
        return cls(
            max_drop=options.max_drop,
            min_recovery=None if left is None else share_in_percent(left),
            max_ppl_increase=None if rise is None else rise_in_percent(rise),
            confidence=options.confidence,
            strict=options.strict,
        )

    @property
    def any(self) -> bool:
        """Whether there is anything to judge."""
        limits = (self.max_drop, self.min_recovery, self.max_ppl_increase)
        return any(limit is not None for limit in limits)

    def refuse_for(self, task: Task) -> None:
        """Raise what `judge` would, where a task's figure is known beforehand.

        Raises:
            EvaluationError: perplexity is asked of answers that are right or wrong.
        """
        if self.max_ppl_increase is not None and task.kind in _OF_ANSWERS:
            raise _no_perplexity(_OF_ANSWERS[task.kind])


def judge(comparison: Comparison, gates: Gates) -> tuple[Verdict, ...]:
    """Hold the headline against every gate that is set.

    Raises:
        EvaluationError: perplexity is asked of a metric that is not bits per byte, or a
            confidence of one that has no interval.
    """
    made = []
    if gates.max_drop is not None:
        made.append(_drop(comparison, gates, gates.max_drop))
    if gates.min_recovery is not None:
        made.append(_recovery(comparison, gates, gates.min_recovery))
    if gates.max_ppl_increase is not None:
        made.append(_perplexity(comparison, gates, gates.max_ppl_increase))
    return tuple(made)


def check_gates(verdicts: Sequence[Verdict]) -> None:
    """Raise for the first gate that did not pass.

    Raises:
        GateFailed: with the figures; exit code 3.
    """
    for verdict in verdicts:
        gate = Parameter(verdict.gate.removeprefix("--").replace("-", "_"))
        if not verdict.met:
            before, after = _BREACHES[verdict.gate]
            raise GateFailed(
                (before, gate, after),
                where=verdict.where,
                got=verdict.figures,
                expected=verdict.rule,
                hint=(
                    *("keep more experts (", Parameter("keep")),
                    "), or calibrate on more examples",
                ),
            )
        if not verdict.passed:
            raise GateFailed(
                (gate, " cannot see the loss it guards against"),
                where=verdict.where,
                got=_smallest_seen(verdict),
                expected=f"at most {verdict.guarded:g} {verdict.unit}",
                hint=(
                    *("score more questions, or leave ", Parameter("strict")),
                    " out",
                ),
            )


def gate_name(verdict: Verdict) -> str:
    """Return the gate as it would be typed."""
    return f"{verdict.gate} {verdict.limit:g}"


def gate_outcome(verdict: Verdict) -> str:
    """Return "passed" or "FAILED"."""
    return "passed" if verdict.passed else "FAILED"


def gate_sight(verdict: Verdict) -> str:
    """Say which loss these questions would show, and whether that is enough."""
    if verdict.detectable is None:
        sight = "no standard error, so no loss is sure to be seen"
    else:
        sight = f"sees losses from {verdict.detectable:.2f} {verdict.unit} (80 % power)"
    if verdict.sees:
        return sight
    return f"{sight}: cannot see {verdict.guarded:g} {verdict.unit}"


def gate_line(verdict: Verdict) -> str:
    """Return one line: the gate, its outcome, what was found, and what it could see."""
    return (
        f"{gate_name(verdict)}: {gate_outcome(verdict)}: {verdict.figures} "
        f"({verdict.rule}); {gate_sight(verdict)}"
    )


def _smallest_seen(verdict: Verdict) -> str:
    if verdict.detectable is None:
        return "no standard error, so no loss that is sure to be seen"
    return f"{verdict.detectable:.2f} {verdict.unit} as the smallest loss that is seen"


def _verdict(
    gate: GateName,
    comparison: Comparison,
    gates: Gates,
    *,
    unit: str,
    limit: float,
    judged: float | None,
    guarded: float,
    detectable: float | None,
    met: bool,
    figures: str,
    rule: str,
) -> Verdict:
    head = comparison.headline
    sees = detectable is not None and detectable <= guarded
    sure = ""
    if gates.confidence is not None:
        sure = f", at {100 * gates.confidence:g} % confidence"
    return Verdict(
        gate=gate,
        where=f"{comparison.model} against {comparison.baseline}, {head.name}",
        unit=unit,
        limit=limit,
        judged=judged,
        confidence=gates.confidence,
        guarded=guarded,
        detectable=detectable,
        met=met,
        strict=gates.strict,
        figures=figures,
        rule=rule + sure,
        sees=sees,
        passed=met and (sees or not gates.strict),
    )


def _drop(comparison: Comparison, gates: Gates, limit: float) -> Verdict:
    head, unit = comparison.headline, comparison.unit
    lost = _lost(comparison, gates)
    band = _band(head, gates)
    return _verdict(
        "--max-drop",
        comparison,
        gates,
        unit=unit,
        limit=limit,
        judged=lost,
        guarded=limit,
        detectable=head.min_detectable_drop,
        met=lost <= limit,
        figures=f"{head.difference:+.2f}{band} {unit} on {head.n} questions",
        rule=f"at most {limit:g} {unit} lost",
    )


def _recovery(comparison: Comparison, gates: Gates, limit: float) -> Verdict:
    """Take the baseline as given: what is left of it at the difference's worse end."""
    head = comparison.headline
    left = head.recovery
    if gates.confidence is not None:
        left = _left(comparison, _lost(comparison, gates))
    seen = None
    if head.min_detectable_drop is not None:
        at_worst = _left(comparison, head.min_detectable_drop)
        seen = None if at_worst is None else 100 - at_worst
    share = "no baseline" if left is None else f"{left:.1f} %"
    return _verdict(
        "--min-recovery",
        comparison,
        gates,
        unit="%",
        limit=limit,
        judged=left,
        guarded=100 - limit,
        detectable=seen,
        met=left is not None and left >= limit,
        figures=f"{share} of the baseline's {head.baseline:.4f} on {head.n} questions",
        rule=f"at least {limit:g} %",
    )


def _perplexity(comparison: Comparison, gates: Gates, limit: float) -> Verdict:
    """Judge 2 to the difference: perplexity per byte is 2 to the bits per byte."""
    if comparison.metric != "bits_per_byte":
        raise _no_perplexity(comparison.metric)
    head = comparison.headline
    increase = _increase(_lost(comparison, gates))
    seen = head.min_detectable_drop
    return _verdict(
        "--max-ppl-increase",
        comparison,
        gates,
        unit="%",
        limit=limit,
        judged=increase,
        guarded=limit,
        detectable=None if seen is None else _increase(seen),
        met=increase <= limit,
        figures=f"{increase:+.2f} % perplexity per byte on {head.n} texts",
        rule=f"at most {limit:+g} %",
    )


def _no_perplexity(metric: str) -> EvaluationError:
    return EvaluationError(
        "perplexity per byte is known of texts only",
        where=Parameter("max_ppl_increase"),
        got=f"{metric} as the figure",
        expected="bits_per_byte",
        hint=(
            *("use ", Parameter("max_drop"), ", or ", Parameter("examples")),
            " with text or completions",
        ),
    )


def _lost(comparison: Comparison, gates: Gates) -> float:
    """Return the loss to be judged, in the comparison's unit."""
    head = comparison.headline
    lost = -head.difference if comparison.higher_is_better else head.difference
    if gates.confidence is None:
        return lost
    if head.stderr is None:
        raise EvaluationError(
            "this figure has no interval to judge",
            where=Parameter("confidence"),
            got=f"{comparison.metric} on {head.n} questions",
            hint=(
                *("leave ", Parameter("confidence")),
                " out, or score more questions",
            ),
        )
    return lost + two_sided(gates.confidence) * head.stderr


def _left(comparison: Comparison, lost: float) -> float | None:
    """Return what per cent of the baseline is left after a loss."""
    whole = comparison.headline.baseline
    if not comparison.higher_is_better:
        return 100 * whole / (whole + lost) if whole + lost > 0 else None
    return 100 - lost / whole if whole else None


def _increase(bits: float) -> float:
    return 100 * (2 ** min(bits, _MOST_BITS) - 1)


def _band(head: Difference, gates: Gates) -> str:
    if head.stderr is None:
        return ""
    half = two_sided(gates.confidence or CONFIDENCE) * head.stderr
    return f" [{head.difference - half:+.2f}, {head.difference + half:+.2f}]"


_BREACHES = {
    "--max-drop": ("more is lost than ", " allows"),
    "--min-recovery": ("less is left than ", " asks"),
    "--max-ppl-increase": ("perplexity rose by more than ", " allows"),
}
