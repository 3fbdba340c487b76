"""Means over domains, and how far domains are apart.

A spread is the standard deviation over domains. An increase is what a subset's loss on
a domain is above that of its own whole model, in nats per token.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

ByDomain = Mapping[str, float]


def summary(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary of all that was measured of one model."""
    whole = found["whole"]
    result: dict[str, Any] = {name: over(values) for name, values in whole.items()}
    if "subsets" in found:
        result["subsets"] = [subset(cell, whole) for cell in found["subsets"]]
        result["random"] = [
            drawn([cell for cell in found["random"] if cell["keep"] == keep], whole)
            for keep in dict.fromkeys(cell["keep"] for cell in found["random"])
        ]
        result["matrix"] = matrix(found["matrix"]["loss"], whole["loss"])
    return result


def over(values: ByDomain) -> dict[str, float]:
    """Return mean and spread over domains."""
    return {
        "mean": round(statistics.fmean(values.values()), 4),
        "spread": round(statistics.stdev(values.values()), 4),
    }


def above(values: ByDomain, whole: ByDomain) -> dict[str, float]:
    """Return, by domain, how far values are above those of the whole model."""
    return {domain: value - whole[domain] for domain, value in values.items()}


def subset(cell: Mapping[str, Any], whole: Mapping[str, ByDomain]) -> dict[str, Any]:
    """Return the summary of subsets chosen for their domains."""
    result = {"keep": cell["keep"], "documents": cell["documents"]}
    return result | costs(cell, whole)


def drawn(
    cells: Sequence[Mapping[str, Any]], whole: Mapping[str, ByDomain]
) -> dict[str, Any]:
    """Return the summary of several random draws of one size: of their mean."""
    losses = {
        domain: statistics.fmean(cell["loss"][domain] for cell in cells)
        for domain in whole["loss"]
    }
    found = {**next(cell for cell in cells if "accuracy" in cell), "loss": losses}
    result = {"keep": found["keep"], "draws": len(cells)}
    return result | costs(found, whole)


def costs(cell: Mapping[str, Any], whole: Mapping[str, ByDomain]) -> dict[str, Any]:
    """Return what a cut costs, in loss and, where it was measured, in accuracy."""
    result = {"loss_increase": over(above(cell["loss"], whole["loss"]))}
    if "accuracy" in cell:
        result["accuracy"] = over(cell["accuracy"])
        change = above(cell["accuracy"], whole["accuracy"])
        result["accuracy_change"] = over(change)
    return result


def matrix(loss: Mapping[str, ByDomain], whole: ByDomain) -> dict[str, Any]:
    """Return what a domain loses by its own subset, and by those of the others.

    `own_is_best`: in how many domains no other domain's subset does better.
    """
    increase = {domain: above(row, whole) for domain, row in loss.items()}
    own = {domain: increase[domain][domain] for domain in whole}
    others = {
        domain: [increase[other][domain] for other in loss if other != domain]
        for domain in whole
    }
    return {
        "own": over(own),
        "other": over({d: statistics.fmean(v) for d, v in others.items()}),
        "best_other": over({d: min(v) for d, v in others.items()}),
        "own_is_best": sum(own[domain] <= min(others[domain]) for domain in whole),
        "domains": len(own),
    }
