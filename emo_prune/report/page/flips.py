"""The questions that only one of a model and its baseline has right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from emo_prune.evaluation import results_schema
from emo_prune.evaluation.results import SCHEMA
from emo_prune.report.page.artifacts import Artifact
from emo_prune.report.page.cells import code
from emo_prune.report.page.checked import checked
from emo_prune.report.page.markup import Markup
from emo_prune.report.page.tables import details, note, table

_SAME = ("task", "metric", "prompts_sha256", "documents_sha256")
_UNKNOWN = (
    "Which questions flipped is known where the baseline's own results on the same "
    "prompts lie in the same folder: score the baseline with `emo-prune eval` too."
)


def flips_part(artifact: Artifact, beside: Sequence[Artifact]) -> Markup:
    """Return the questions lost and won, or how to come to know them."""
    value = artifact.value
    other = _baseline(value, beside)
    if other is None:
        return note(_UNKNOWN)
    rows = list(_flips(value, other))
    lost = sum(change == "lost" for *_, change in rows)
    return details(
        f"Questions that flipped: {lost} lost, {len(rows) - lost} won",
        table(
            "Right in one of the two alone",
            ("lm-eval task", "category", "document", "change"),
            rows,
        ),
    )


def _baseline(
    value: Mapping[str, Any], beside: Sequence[Artifact]
) -> Mapping[str, Any] | None:
    """Return the baseline's own results on the very same prompts, if they are there."""
    for artifact in beside:
        other = artifact.value
        if (
            artifact.schema == SCHEMA
            and other.get("model") == value["comparison"]["baseline"]
            and all(other.get(key) == value[key] for key in _SAME)
        ):
            return checked(artifact, results_schema())
    return None


def _flips(
    value: Mapping[str, Any], other: Mapping[str, Any]
) -> Iterator[tuple[object, ...]]:
    theirs = {
        (task["name"], *key): score
        for task in other["tasks"]
        for key, score in _scores(task)
    }
    for task in value["tasks"]:
        for key, score in _scores(task):
            before = theirs.get((task["name"], *key))
            if {score, before} == {0, 1}:
                change = "won" if score else "lost"
                yield task["name"], task["category"], code(key[0]), change


def _scores(task: Mapping[str, Any]) -> Iterator[tuple[tuple[str, int], float]]:
    """Yield each question's hash, which of equal documents it is, and its score."""
    seen: Counter[str] = Counter()
    for question in task["questions"]:
        document = question["document_sha256"]
        yield (document, seen[document]), question["score"]
        seen[document] += 1
