"""A user's own examples as an lm-eval task, so that they are scored like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emo_prune.tasks.examples import ExampleRow, Form


def example_config(name: str, form: Form) -> dict[str, Any]:
    """Return the lm-eval config that scores rows of one form.

    "choices" by accuracy; "completion" and "text" by bits per byte (and perplexity per
    byte), over the completion's or the whole text's UTF-8 bytes.
    """
    config: dict[str, Any] = {
        "task": name,
        "test_split": "test",
        "target_delimiter": "",
        "metadata": {"version": 1.0},
    }
    if form == "choices":
        return config | {
            "output_type": "multiple_choice",
            "doc_to_text": "prompt",
            "doc_to_choice": "choices",
            "doc_to_target": "answer",
            "metric_list": [
                {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
            ],
        }
    per_byte = [
        {
            "metric": "bits_per_byte",
            "aggregation": "bits_per_byte",
            "higher_is_better": False,
        },
        {
            "metric": "byte_perplexity",
            "aggregation": "weighted_perplexity",
            "higher_is_better": False,
        },
    ]
    if form == "text":
        return config | {
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "completion",
            "metric_list": per_byte,
        }
    return config | {
        "output_type": "loglikelihood",
        "doc_to_text": "prompt",
        "doc_to_target": "completion",
        "process_results": _per_byte,
        "metric_list": per_byte,
    }


def example_document(row: ExampleRow) -> dict[str, Any]:
    """Return the columns the config reads."""
    return {
        "prompt": row.context,
        "completion": row.completion,
        "choices": list(row.choices),
        "answer": row.answer,
        "document_sha256": row.document_sha256,
    }


def _per_byte(
    document: Mapping[str, Any], results: Sequence[tuple[float, bool]]
) -> dict[str, tuple[float, int]]:
    log_likelihood, _ = results[0]
    size = len(document["completion"].encode())
    return {
        "bits_per_byte": (log_likelihood, size),
        "byte_perplexity": (log_likelihood, size),
    }
