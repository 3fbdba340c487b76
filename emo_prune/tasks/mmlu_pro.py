"""MMLU-Pro as multiple choice.

lm-eval's own `mmlu_pro` generates up to 2,048 tokens of reasoning per question: name
`mmlu_pro_law` and so on for it. Here the options are scored by log-likelihood, in the
form of lm-eval's MMLU: with letters A to J, or without, scoring the options' words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LETTERS = "ABCDEFGHIJ"


def mmlu_pro_config(category: str, answer: str) -> dict[str, Any]:
    """Return the config of one category, for `answer` "letter" or "text"."""
    about = category.replace("_", " ")
    lettered = answer == "letter"
    opening = (
        "The following are multiple choice questions (with answers) about"
        if lettered
        else "The following are questions (with answers) about"
    )
    return {
        "task": f"mmlu_pro_{category}_{answer}",
        "dataset_path": "TIGER-Lab/MMLU-Pro",
        "output_type": "multiple_choice",
        "test_split": "test",
        "fewshot_split": "validation",
        "fewshot_config": {"sampler": "first_n"},
        "description": f"{opening} {about}.\n\n",
        "doc_to_text": _with_options if lettered else _question_only,
        "doc_to_choice": _letters if lettered else "options",
        "doc_to_target": _answer,
        "metric_list": [
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
        ],
        "metadata": {"version": 1.0},
    }


def _with_options(row: Mapping[str, Any]) -> str:
    options = zip(LETTERS, row["options"], strict=False)
    listed = "\n".join(f"{letter}. {option}" for letter, option in options)
    return f"{row['question'].strip()}\n{listed}\nAnswer:"


def _question_only(row: Mapping[str, Any]) -> str:
    return f"Question: {row['question'].strip()}\nAnswer:"


def _letters(row: Mapping[str, Any]) -> list[str]:
    return list(LETTERS[: len(row["options"])])


def _answer(row: Mapping[str, Any]) -> int:
    return LETTERS.index(row["answer"])  # as lm-eval; a few `answer_index` are wrong
