"""The questions that only one of a model and its baseline has right."""

from __future__ import annotations

from collections.abc import Sequence

from emo_prune.evaluation import Comparison, Flip, Results, flips
from emo_prune.reports.page.beside import FlippedQuestions, Questions
from emo_prune.reports.page.comparison import same_prompts
from emo_prune.reports.page.markup import Markup, code, details, note, table, tag

_UNKNOWN = (
    "Which questions flipped is known where the file that `eval` writes of them "
    "(samples), or the baseline's own results on the same prompts, lie in the same "
    "folder."
)
_WHERE = ("category", "lm-eval task", "document")
_ANSWERS = ("answer", "the baseline's")
_ASKED = ("question", "right answer")
_UNASKED = ("not known", "not known")


def flips_part(
    results: Results, compared: Comparison, beside: Sequence[object]
) -> list[Markup]:
    """Return the questions lost and won, or how to come to know them."""
    count = _count(compared)
    if not count:
        return [] if count is None else [note("No question flipped.")]
    found = _from_samples(results, compared, beside)
    if found is None:
        found = _from_baseline(results, compared, beside)
    if found is None:
        return [note(_UNKNOWN)]
    lost = sum(flip.change == "lost" for flip in found)
    summary = f"Questions that flipped: {lost} lost, {len(found) - lost} won"
    asked: dict[str, tuple[str, str]] = {}
    for one in beside:
        if isinstance(one, Questions):
            asked |= one.asked
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
    results: Results, compared: Comparison, beside: Sequence[object]
) -> list[Flip] | None:
    """Return the flips of samples files that are of these results, if there are any.

    They are if the two models are, the questions are there with that score, and they
    are as many as the comparison counts: a file of an earlier evaluation is none.
    """
    sides = (results.model, compared.baseline)
    scores = {
        (task.name, question.document_sha256, question.score)
        for task in results.tasks
        for question in task.questions
    }
    found = [
        flip
        for one in beside
        if isinstance(one, FlippedQuestions)
        for flip in one.flips.get(sides, ())
        if (flip.task, flip.document_sha256, float(flip.change == "won")) in scores
    ]
    return found if len(found) == _count(compared) else None


def _count(compared: Comparison) -> int | None:
    """Return how many flips the comparison counts; None if no answer can be right."""
    counts = [
        count
        for found in compared.categories
        for count in (found.lost, found.won)
        if count is not None
    ]
    return sum(counts) if counts else None


def _from_baseline(
    results: Results, compared: Comparison, beside: Sequence[object]
) -> list[Flip] | None:
    """Return the flips against the baseline's own results, if those are there."""
    for one in beside:
        if (
            isinstance(one, Results)
            and one.model == compared.baseline
            and same_prompts(one) == same_prompts(results)
        ):
            return list(flips(results, one))
    return None


def _question(asked: tuple[str, str]) -> tuple[Markup, str]:
    question, right = asked
    return tag("div", question.strip(), class_="asked"), right.strip()


def _answer(text: str | None) -> str:
    return "not known" if text is None else text
