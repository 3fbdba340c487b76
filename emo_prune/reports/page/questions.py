"""The questions of a file of examples, as the value of an artifact: what flips say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emo_prune.reports.page.artifacts import Artifact

SCHEMA = "questions"  # what no JSON file can say of itself


def questions_value(file: Path) -> dict[str, Any]:
    """Return each question and its right answer, by the document's hash.

    Raises:
        BadExamples: it is no file of examples.
    """
    from emo_prune.tasks.examples import read_examples

    rows = read_examples(file)
    asked = {row.document_sha256: (row.context, row.completion) for row in rows}
    return {"questions": asked}


def questions_of(beside: Sequence[Artifact]) -> Mapping[str, tuple[str, str]]:
    """Return the questions and right answers that are known."""
    found: dict[str, tuple[str, str]] = {}
    for one in beside:
        if one.schema == SCHEMA:
            found |= one.value["questions"]
    return found
