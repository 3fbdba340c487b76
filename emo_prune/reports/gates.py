"""What came of a gate, in words."""

from __future__ import annotations

from emo_prune.evaluation import Verdict


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
