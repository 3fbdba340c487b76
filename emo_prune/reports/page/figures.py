"""The figures of results as they are shown: accuracies in per cent, others as is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emo_prune.evaluation.figures import metric_name
from emo_prune.evaluation.statistics import CONFIDENCE, two_sided
from emo_prune.reports.page.cells import NONE, number
from emo_prune.reports.page.markup import Markup

# Results that agree in these answered the same prompts.
SAME_PROMPTS = ("task", "metric", "prompts_sha256", "documents_sha256")

Value = Mapping[str, Any]


def scale_of(value: Value) -> float:
    """Return what figures are multiplied by."""
    return 100.0 if value["higher_is_better"] else 1.0


def scaled(figure: float | None, value: Value) -> Markup:
    """Return one of the figures of results."""
    if figure is None:
        return NONE
    return number(figure, f"{figure * scale_of(value):.2f}")


def unit_of(value: Value) -> str:
    """Return the metric's name and unit."""
    unit = "%" if value["higher_is_better"] else "lower is better"
    return f"{metric_name(value['metric'])} ({unit})"


def interval_of(figure: Value, scale: float) -> tuple[float, float] | None:
    """Return the normal 95 % interval of a figure, None without a standard error."""
    if figure["stderr"] is None:
        return None
    half = two_sided(CONFIDENCE) * figure["stderr"]
    return (figure["value"] - half) * scale, (figure["value"] + half) * scale
