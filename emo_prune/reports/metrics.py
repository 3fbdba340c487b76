"""Metrics by the names that people know them by."""

from __future__ import annotations

_NAMES = {"acc": "accuracy", "acc_norm": "accuracy, by length"} | {
    name: name.replace("_", " ") for name in ("exact_match", "bits_per_byte")
}


def metric_name(metric: str) -> str:
    """Return what a metric of lm-eval is called; its own name if it has no other."""
    return _NAMES.get(metric, metric)
