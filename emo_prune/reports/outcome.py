"""All that one evaluation came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from emo_prune.evaluation import Comparison, Results, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Results, the comparison if there was a baseline, and a verdict for each gate."""

    results: Results
    comparison: Comparison | None = None
    verdicts: tuple[Verdict, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object that `results.schema.json` describes."""
        return self.results.to_dict(self.comparison, self.verdicts)

    def to_json(self) -> str:
        """Return it as text."""
        return self.results.to_json(self.comparison, self.verdicts)
