"""How much is measured: the full measurement, and a quick one that tries the code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What decides the figures, apart from text and models.

    score, greedy: how experts are chosen, as `emo-prune select` takes them.
    calibration: from how many documents, each in turn; the last is "many".
    shares: of the experts, to be kept; as few as the router picks comes on top.
    matrix_share: the budget at which every domain's subset meets every domain's text.
    documents, windows_each: test documents of a domain, and windows from each.
    questions: four-way questions on a domain's test documents.
    seeds: of random subsets; the first is also scored by accuracy.
    """

    score: str = "probability"
    greedy: bool = True
    calibration: tuple[int, ...] = (1, 5, 40)
    shares: tuple[float, ...] = (0.5, 0.25, 0.125)
    matrix_share: float = 0.125
    documents: int = 20
    windows_each: int = 2
    questions: int = 60
    seeds: tuple[int, ...] = (0, 1, 2)

    @property
    def many(self) -> int:
        """The largest number of calibration documents."""
        return self.calibration[-1]

    def budgets(self, num_experts: int, top_k: int) -> list[int]:
        """Return the numbers of experts to keep, from many to few."""
        kept = {int(share * num_experts) for share in self.shares} | {top_k}
        return sorted(kept, reverse=True)

    def matrix_budget(self, num_experts: int) -> int:
        """Return the number of experts kept in the matrix."""
        return int(self.matrix_share * num_experts)

    def to_json(self) -> Mapping[str, Any]:
        """Return the fields as JSON has them."""
        fields = asdict(self).items()
        return {k: list(v) if isinstance(v, tuple) else v for k, v in fields}


FULL = Settings()


def quick(settings: Settings) -> Settings:
    """Return settings of the same shape that take a minute; their figures are noise."""
    return Settings(
        score=settings.score,
        greedy=settings.greedy,
        calibration=(1, 2, 4),
        shares=(0.25, 0.125),
        documents=4,
        windows_each=1,
        questions=6,
        seeds=(0,),
    )
