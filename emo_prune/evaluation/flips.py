"""The questions that pruning turned from right to wrong, or from wrong to right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from emo_prune.evaluation.matching import matched_questions, matched_tasks
from emo_prune.evaluation.results import Results
from emo_prune.evaluation.statistics import is_right_or_wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """One question: `lost` if only the baseline has it right, else `won`.

    The answers are None where they are not known.
    """

    task: str
    category: str
    document_sha256: str
    change: Literal["lost", "won"]
    answer: str | None
    baseline_answer: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return a row of the file that `eval --samples` writes."""
        return asdict(self)


def flips(results: Results, baseline: Results) -> Iterator[Flip]:
    """Yield what flipped, in the order of the results.

    Only what is right or wrong flips; bits per byte and shares of a point do not.
    """
    for mine, other in matched_tasks(results, baseline):
        pairs = list(matched_questions(mine, other))
        if not is_right_or_wrong([q.score for pair in pairs for q in pair]):
            continue
        for ours, theirs in pairs:
            if ours.score != theirs.score:
                yield Flip(
                    task=mine.name,
                    category=mine.category,
                    document_sha256=ours.document_sha256,
                    change="won" if ours.score else "lost",
                    answer=ours.answer,
                    baseline_answer=theirs.answer,
                )
