"""What the runs of a fine-tuning benchmark come to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

Run = Mapping[str, Any]
Scores = Mapping[str, list[int]]


def compared(runs: Sequence[Run]) -> dict[str, Any]:
    """Return each variant's accuracies, over seeds, and its difference from `dense`."""
    variants = list(dict.fromkeys(run["variant"] for run in runs))
    found = {}
    for variant in variants:
        for scores in ("scores", "scores_as_dense"):
            some = _of(runs, variant, scores)
            if some:
                name = variant + (", used as dense" if scores != "scores" else "")
                found[name] = _row(some, _of(runs, "dense", "scores"))
    return {
        "seeds": sorted({run["seed"] for run in runs if run["seed"] is not None}),
        "variants": found,
        "runs": [
            {key: run[key] for key in ("variant", "seed", "losses", "train_seconds")}
            for run in runs
            if "losses" in run
        ],
    }


def _of(runs: Sequence[Run], variant: str, scores: str) -> list[Scores]:
    return [run[scores] for run in runs if run["variant"] == variant and scores in run]


def _row(ours: Sequence[Scores], dense: Sequence[Scores]) -> dict[str, Any]:
    return {
        task: _figures([one[task] for one in ours], [one[task] for one in dense])
        for task in ours[0]
    }


def _figures(ours: Sequence[list[int]], dense: Sequence[list[int]]) -> dict[str, Any]:
    """Return per cent and points; the error of the difference is over questions."""
    by_seed = [100 * fmean(one) for one in ours]
    apart = [
        100 * (mine - theirs)
        for mine, theirs in zip(_means(ours), _means(dense), strict=True)
    ]
    return {
        "accuracy": round(fmean(by_seed), 2),
        "by_seed": [round(value, 2) for value in by_seed],
        "from_dense": round(fmean(apart), 2),
        "stderr": round(stdev(apart) / math.sqrt(len(apart)), 2),
        "n": len(apart),
    }


def _means(seeds: Sequence[list[int]]) -> Iterator[float]:
    """Yield each question's mean over seeds."""
    return (fmean(question) for question in zip(*seeds, strict=True))
