"""Judge a comparison: how much may be lost, and could so few questions show it?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from emo_prune.errors import EvaluationError, GateFailed
from emo_prune.evaluation.compare import Comparison, Difference
from emo_prune.evaluation.statistics import CONFIDENCE, two_sided

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
        EvaluationError: a limit is not a finite number, or the confidence not between
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
            if limit is not None and not math.isfinite(limit):
                raise EvaluationError(
                    "a gate is not a number",
                    where=_option(name),
                    got=str(limit),
                    hint=f"try {_option(name)} {_EXAMPLES[name]}",
                )
        if self.confidence is not None and not 0 < self.confidence < 1:
            raise EvaluationError(
                "a confidence is a share between 0 and 1",
                where="--confidence",
                got=str(self.confidence),
                expected="0.95, for instance",
                hint="try --confidence 0.95",
            )

    @property
    def any(self) -> bool:
        """Tell whether there is anything to judge."""
        limits = (self.max_drop, self.min_recovery, self.max_ppl_increase)
        return any(limit is not None for limit in limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One gate, judged.

    `judged` is held against `limit`; `guarded` and `detectable` are losses in the same
    unit: the one the gate is to catch, and the smallest one that a paired test at 95 %
    would see with 80 % power on these questions (None if that is not known). `figures`
    and `rule` say in words what was found and what was asked.
    """

    gate: str
    where: str
    unit: str
    limit: float
    judged: float | None
    confidence: float | None
    guarded: float
    detectable: float | None
    met: bool
    strict: bool
    figures: str
    rule: str

    @property
    def sees(self) -> bool:
        """Tell whether the test would see the loss that the gate is to catch."""
        return self.detectable is not None and self.detectable <= self.guarded

    @property
    def passed(self) -> bool:
        """Tell whether the gate is met and, if strict, able to see."""
        return self.met and (self.sees or not self.strict)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of results."""
        return {**asdict(self), "sees": self.sees, "passed": self.passed}


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
        if not verdict.met:
            raise GateFailed(
                _BREACHES[verdict.gate],
                where=verdict.where,
                got=verdict.figures,
                expected=verdict.rule,
                hint="keep more experts (--keep), or calibrate on more examples",
            )
        if not verdict.passed:
            raise GateFailed(
                f"{verdict.gate} cannot see the loss it guards against",
                where=verdict.where,
                got=smallest_seen(verdict),
                expected=f"at most {verdict.guarded:g} {verdict.unit}",
                hint="score more questions, or leave --strict out",
            )


def smallest_seen(verdict: Verdict) -> str:
    """Say which loss the questions would show four times out of five."""
    if verdict.detectable is None:
        return "no standard error, so no loss that is sure to be seen"
    return f"{verdict.detectable:.2f} {verdict.unit} as the smallest loss that is seen"


def _drop(comparison: Comparison, gates: Gates, limit: float) -> Verdict:
    head, unit = comparison.headline, comparison.unit
    lost = _lost(comparison, gates)
    return Verdict(
        gate="--max-drop",
        where=_where(comparison),
        unit=unit,
        limit=limit,
        judged=lost,
        confidence=gates.confidence,
        guarded=limit,
        detectable=head.min_detectable_drop,
        met=lost <= limit,
        strict=gates.strict,
        figures=f"{head.difference:+.2f}{_band(head, gates)} {unit} on {head.n} "
        "questions",
        rule=f"at most {limit:g} {unit} lost{_sure(gates)}",
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
    return Verdict(
        gate="--min-recovery",
        where=_where(comparison),
        unit="%",
        limit=limit,
        judged=left,
        confidence=gates.confidence,
        guarded=100 - limit,
        detectable=seen,
        met=left is not None and left >= limit,
        strict=gates.strict,
        figures=f"{share} of the baseline's {head.baseline:.4f} on {head.n} questions",
        rule=f"at least {limit:g} %{_sure(gates)}",
    )


def _perplexity(comparison: Comparison, gates: Gates, limit: float) -> Verdict:
    """Judge 2 to the difference: perplexity per byte is 2 to the bits per byte."""
    if comparison.metric != "bits_per_byte":
        raise EvaluationError(
            "perplexity per byte is known of texts only",
            where="--max-ppl-increase",
            got=f"{comparison.metric} as the figure",
            expected="bits_per_byte",
            hint="use --max-drop, or --examples with text or completions",
        )
    head = comparison.headline
    increase = _increase(_lost(comparison, gates))
    seen = head.min_detectable_drop
    return Verdict(
        gate="--max-ppl-increase",
        where=_where(comparison),
        unit="%",
        limit=limit,
        judged=increase,
        confidence=gates.confidence,
        guarded=limit,
        detectable=None if seen is None else _increase(seen),
        met=increase <= limit,
        strict=gates.strict,
        figures=f"{increase:+.2f} % perplexity per byte on {head.n} texts",
        rule=f"at most {limit:+g} %{_sure(gates)}",
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
            where="--confidence",
            got=f"{comparison.metric} on {head.n} questions",
            hint="leave --confidence out, or score more questions",
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


def _where(comparison: Comparison) -> str:
    head = comparison.headline
    return f"{comparison.model} against {comparison.baseline}, {head.name}"


def _band(head: Difference, gates: Gates) -> str:
    if head.stderr is None:
        return ""
    half = two_sided(gates.confidence or CONFIDENCE) * head.stderr
    return f" [{head.difference - half:+.2f}, {head.difference + half:+.2f}]"


def _sure(gates: Gates) -> str:
    if gates.confidence is None:
        return ""
    return f", at {100 * gates.confidence:g} % confidence"


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


_EXAMPLES = {"max_drop": "1.0", "min_recovery": "95%", "max_ppl_increase": "2%"}
_BREACHES = {
    "--max-drop": "more is lost than --max-drop allows",
    "--min-recovery": "less is left than --min-recovery asks",
    "--max-ppl-increase": "perplexity rose by more than --max-ppl-increase allows",
}
