"""An evaluation as Markdown, for the summary of a CI job."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from emo_prune.evaluation.gates import gate_name, gate_outcome, gate_sight
from emo_prune.reports.figures import FLIPS, against_controls, rows, titles
from emo_prune.reports.outcome import Outcome

_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~<>&!])")


def markdown_summary(outcomes: Sequence[Outcome]) -> str:
    """Return a section for each evaluation: gates first, then every category.

    GitHub's dialect. Names are escaped, so that none of them is taken for markup.
    """
    return "".join(_section(outcome) for outcome in outcomes)


def _section(outcome: Outcome) -> str:
    results, comparison = outcome.results, outcome.comparison
    parts = [f"### {_text(results.model)}: {_text(results.task)}"]
    if comparison is not None:
        parts.append(f"Against {_text(comparison.baseline)}, on the same questions.")
    if outcome.verdicts:
        parts.append(_gates(outcome))
    flips = () if comparison is None else FLIPS
    parts.append(
        _table(
            (*titles(results, comparison), *flips),
            ((row.name, *row.cells, *row.flips) for row in rows(results, comparison)),
        )
    )
    if comparison is not None:
        parts += (_text(f"{said}.") for said in against_controls(comparison))
    return "\n\n".join(parts) + "\n\n"


def _gates(outcome: Outcome) -> str:
    return _table(
        ("gate", "outcome", "found", "asked", "sight"),
        (
            (gate_name(v), gate_outcome(v), v.figures, v.rule, gate_sight(v))
            for v in outcome.verdicts
        ),
    )


def _table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [header, [":--", *["--:"] * (len(header) - 1)], *body]
    return "\n".join(
        "| " + " | ".join(cells if i == 1 else map(_text, cells)) + " |"
        for i, cells in enumerate(lines)
    )


def _text(text: str) -> str:
    """Escape what Markdown or HTML would read as markup; a line break is a space."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
