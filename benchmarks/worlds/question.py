"""A question with four choices, and the forms that other programs read it in."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question of a world; `answer` is the index of the right choice."""

    world: str
    question: str
    choices: tuple[str, ...]
    answer: int

    @property
    def right(self) -> str:
        """The text of the right choice."""
        return self.choices[self.answer]

    @property
    def prompt(self) -> str:
        """What a model reads before a choice; the choice follows after a space."""
        return f"Question: {self.question}\nAnswer:"

    def example_row(self) -> dict[str, object]:
        """Return the row of an `--examples` file."""
        return {
            "prompt": self.prompt,
            "completion": f" {self.right}",
            "choices": [f" {choice}" for choice in self.choices],
            "answer": self.answer,
        }

    def mmlu_row(self) -> dict[str, object]:
        """Return the row with the columns of MMLU and MMLU-Pro."""
        return {
            "question": self.question,
            "choices": list(self.choices),
            "answer": self.answer,
            "subject": self.world,
            "category": self.world,
        }


def write_questions(file: Path, asked: Iterable[Question]) -> None:
    """Write a JSONL file for `--examples`, a line for each question."""
    lines = [json.dumps(one.example_row()) + "\n" for one in asked]
    file.write_text("".join(lines), encoding="utf-8", newline="\n")
