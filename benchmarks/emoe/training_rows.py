"""What is trained on: ARC-Easy's training questions with their answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRAINING = "arc/easy_train.jsonl"


@dataclass(frozen=True, slots=True)
class Row:
    """A question with its answer: token ids, and where the answer begins."""

    ids: list[int]
    start: int


def training_rows(data: Path, tokenizer: Any, limit: int | None) -> list[Row]:
    """Return the training split (its first `limit` questions), as lm-eval asks it."""
    lines = (data / TRAINING).read_text(encoding="utf-8").splitlines()
    return [_row(tokenizer, json.loads(line)) for line in lines[:limit]]


def _row(tokenizer: Any, question: dict[str, Any]) -> Row:
    context = f"Question: {question['question']}\nAnswer:"
    choices = question["choices"]
    answer = choices["text"][choices["label"].index(question["answerKey"])]
    ids = tokenizer(f"{context} {answer}")["input_ids"]
    return Row(ids, len(tokenizer(context)["input_ids"]))
