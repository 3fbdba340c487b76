"""The gates of an evaluation: what was asked, what came of it, what could be seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from emo_prune.evaluation import Verdict
from emo_prune.evaluation.gates import gate_name, gate_outcome, gate_sight
from emo_prune.reports.page.cells import number
from emo_prune.reports.page.markup import Markup, tag
from emo_prune.reports.page.tables import note, table

_COLUMNS = ("gate", "outcome", "found", "asked", "judged", "limit", "sight")


def verdicts_of(value: Mapping[str, Any]) -> list[Verdict]:
    """Return the verdicts that results hold, none if no gate was set."""
    return [Verdict(**gate) for gate in value.get("gates", ())]


def gates_headline(verdicts: Sequence[Verdict]) -> Iterator[tuple[str, Markup]]:
    """Yield each gate's outcome."""
    for verdict in verdicts:
        yield gate_name(verdict), _outcome(verdict)


def gates_part(verdicts: Sequence[Verdict]) -> list[Markup]:
    """Return a table of the gates, and what to think of one that cannot see."""
    if not verdicts:
        return []
    rows = [
        (
            gate_name(verdict),
            _outcome(verdict),
            verdict.figures,
            verdict.rule,
            number(verdict.judged, _short(verdict.judged)),
            number(verdict.limit, f"{verdict.limit:g}"),
            gate_sight(verdict),
        )
        for verdict in verdicts
    ]
    blind = "" if all(verdict.sees for verdict in verdicts) else (
        "A gate that cannot see the drop it guards against proves nothing by passing: "
        "score more questions."
    )  # fmt: skip
    return [table("Gates", _COLUMNS, rows), *([note(blind)] if blind else [])]


def _outcome(verdict: Verdict) -> Markup:
    word = gate_outcome(verdict)
    return tag("strong", word, class_="good" if verdict.passed else "bad")


def _short(judged: float | None) -> str | None:
    return None if judged is None else f"{judged:.2f}"
