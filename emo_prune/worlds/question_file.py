"""Questions as a file of examples, which `select` and `eval` take."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from emo_prune.worlds.question import Question


def write_questions(file: Path, asked: Iterable[Question]) -> None:
    """Write a JSONL file for `--examples`, a line for each question."""
    lines = [json.dumps(one.example_row()) + "\n" for one in asked]
    file.write_text("".join(lines), encoding="utf-8")
