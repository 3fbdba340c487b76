"""What the authors of EMO published, as data to hold measurements against.

The figures are those of arXiv 2605.06663, none of them is emo-prune's own. Tables are
as printed, figures were decoded from the drawings.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

PAPER = "arXiv:2605.06663"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigure:
    """One value, in per cent, give or take `tolerance` (half of its last digit).

    source: "Table 3", "Figure 4". reading: printed, or decoded from a vector drawing.
    model: the Hub id of the checkpoint (OLMoE by its name). benchmark: as in `--task`,
    or mc9 or gen5, the paper's means over nine and five others. category: "mean" is the
    unweighted one over the categories but "other".

    kept: experts a layer, the shared one included, of 128; None for a model taken as it
    is. score, greedy: as in `select`. examples: how many calibrated. select_shots and
    score_shots: whether prompts had demonstrations. Where nothing was selected, score,
    greedy, examples and select_shots are None; a random choice has no examples either.
    seeds: over how many calibrations `value` is a mean.
    """

    source: str
    reading: Literal["printed", "decoded"]
    tolerance: float
    model: str
    benchmark: str
    category: Literal["mean", "other"]
    value: float
    kept: int | None
    score: str | None
    greedy: bool | None
    examples: int | Literal["all"] | None
    select_shots: Literal["few", "none"] | None
    score_shots: Literal["few", "none"]
    seeds: int
    fine_tuned: bool


@cache
def published_figures() -> tuple[PublishedFigure, ...]:
    """Return every published figure, in the order of the file."""
    file = resources.files("emo_prune.reports") / "published.json"
    return tuple(_figures(json.loads(file.read_text(encoding="utf-8"))))


def _figures(document: dict[str, Any]) -> Iterator[PublishedFigure]:
    for series in document["series"]:
        shared = {k: v for k, v in series.items() if k not in {"kept", "values"}}
        shared |= document["sources"][series["source"]]
        for kept, value in zip(series["kept"], series["values"], strict=True):
            yield PublishedFigure(**shared, kept=kept, value=value)
