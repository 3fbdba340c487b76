"""The questions that only one of a model and its baseline has right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emo_prune.evaluation import Flip, Results, flips
from emo_prune.reports.page.artifacts import Artifact
from emo_prune.reports.page.cells import code
from emo_prune.reports.page.figures import SAME_PROMPTS
from emo_prune.reports.page.markup import Markup, tag
from emo_prune.reports.page.questions import questions_of
from emo_prune.reports.page.samples import SCHEMA as SAMPLES
from emo_prune.reports.page.tables import details, note, table

_UNKNOWN = (
    "Which questions flipped is known where the file of `emo-prune eval --samples`, or "
    "the baseline's own results on the same prompts, lie in the same folder."
)
_WHERE = ("category", "lm-eval task", "document")
_ANSWERS = ("answer", "the baseline's")
_ASKED = ("question", "right answer")
_UNASKED = ("not known", "not known")


def flips_part(artifact: Artifact, beside: Sequence[Artifact]) -> list[Markup]:
    """Return the questions lost and won, or how to come to know them."""
    count = _count(artifact.value)
    if not count:
        return [] if count is None else [note("No question flipped.")]
    results = Results.from_value(artifact.value, artifact.name)
    found = _from_samples(artifact.value, results, beside)
    if found is None:
        found = _from_baseline(artifact.value, results, beside)
    if found is None:
        return [note(_UNKNOWN)]
    lost = sum(flip.change == "lost" for flip in found)
    summary = f"Questions that flipped: {lost} lost, {len(found) - lost} won"
    asked = questions_of(beside)
    known = any(flip.document_sha256 in asked for flip in found)
    columns = ("change", *(_ASKED if known else ()), *_ANSWERS, *_WHERE)
    rows = [
        (
            flip.change,
            *(_question(asked.get(flip.document_sha256, _UNASKED)) if known else ()),
            _answer(flip.answer),
            _answer(flip.baseline_answer),
            flip.category,
            flip.task,
            code(flip.document_sha256),
        )
        for flip in found
    ]
    return [details(summary, table("Right in one of the two alone", columns, rows))]


def _from_samples(
    value: Any, results: Results, beside: Sequence[Artifact]
) -> list[Flip] | None:
    """Return the flips of samples files that are of these results, if there are any.

    They are if the two models are, the questions are there with that score, and they
    are as many as the comparison counts: a file of an earlier evaluation is none.
    """
    sides = (results.model, value["comparison"]["baseline"])
    scores = {
        (task.name, question.document_sha256, question.score)
        for task in results.tasks
        for question in task.questions
    }
    found = [
        Flip(**flip)
        for one in beside
        if one.schema == SAMPLES
        for flip in one.value["flips"].get(sides, ())
        if (flip["task"], flip["document_sha256"], float(flip["change"] == "won"))
        in scores
    ]
    return found if len(found) == _count(value) else None


def _count(value: Any) -> int | None:
    """Return how many flips the comparison counts; None if no answer can be right."""
    counts = [
        found[change]
        for found in value["comparison"]["categories"]
        for change in ("lost", "won")
        if found[change] is not None
    ]
    return sum(counts) if counts else None


def _from_baseline(
    value: Any, results: Results, beside: Sequence[Artifact]
) -> list[Flip] | None:
    """Return the flips against the baseline's own results, if those are there."""
    for artifact in beside:
        other = artifact.value
        if (
            artifact.schema == Results.schema
            and other.get("model") == value["comparison"]["baseline"]
            and all(other.get(key) == value[key] for key in SAME_PROMPTS)
        ):
            baseline = Results.from_value(artifact.value, artifact.name)
            return list(flips(results, baseline))
    return None


def _question(asked: tuple[str, str]) -> tuple[Markup, str]:
    question, right = asked
    return tag("div", question.strip(), class_="asked"), right.strip()


def _answer(text: str | None) -> str:
    return "not known" if text is None else text
