"""The flipped questions that `eval --samples` wrote, as the value of an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emo_prune.files import strict_json

SCHEMA = "samples"  # what no JSON file can say of itself
FILES = ".jsonl"
_ANSWERS = ("answer", "baseline_answer")
_FLIP = ("task", "category", "document_sha256", "change", *_ANSWERS)
_SIDES = ("model", "baseline")
_CHANGES = ("lost", "won")


def is_samples(file: Path) -> bool:
    """Tell by its first line whether a JSONL file is of flipped questions."""
    try:
        with file.open("rb") as lines:
            _row(lines.readline())
    except (OSError, ValueError):
        return False
    return True


def samples_value(data: bytes) -> dict[str, Any]:
    """Return the flips of each model and its baseline.

    Raises:
        ValueError: a line is not of a flipped question.
    """
    flips: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in data.splitlines():
        row = _row(line)
        sides = (row["model"], row["baseline"])
        flips.setdefault(sides, []).append({key: row[key] for key in _FLIP})
    return {"flips": flips}


def _row(line: bytes) -> dict[str, Any]:
    row = strict_json(line)
    if not isinstance(row, dict) or row.keys() != {*_SIDES, *_FLIP} or not _sound(row):
        raise ValueError("this line is not a flipped question")
    return row


def _sound(row: dict[str, Any]) -> bool:
    """Tell whether all is text; only answers may be unknown."""
    texts = [row[key] for key in row if not (key in _ANSWERS and row[key] is None)]
    return all(isinstance(text, str) for text in texts) and row["change"] in _CHANGES
