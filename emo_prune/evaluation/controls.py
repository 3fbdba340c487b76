"""Controls: does a subset know its task, or would any experts have done?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from emo_prune.evaluation.compare import Difference, compare
from emo_prune.evaluation.results import Question, Results, TaskResult

ControlKind = Literal["random", "other-task"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A model against as many experts that were not chosen for the task.

    `headline` and `categories` have the control's figures as `baseline`. Of several
    choices (random ones, by `seeds`) that is the mean over them, question by question;
    `values` are the headline of each.
    """

    kind: ControlKind
    name: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    headline: Difference
    categories: tuple[Difference, ...]


def against_control(
    results: Results,
    controls: Sequence[Results],
    *,
    kind: ControlKind,
    name: str,
    seeds: Sequence[int] = (),
) -> Control:
    """Compare results with those of a control, on the same questions.

    `controls` are the results of each choice, one or more.

    Raises:
        EvaluationError: they answered other prompts.
    """
    found = compare(results, _mean(controls))
    return Control(
        kind=kind,
        name=name,
        seeds=tuple(seeds),
        values=tuple(one.value for one in controls),
        headline=found.headline,
        categories=found.categories,
    )


def _mean(several: Sequence[Results]) -> Results:
    """Return results whose every score is the mean of several; the prompts are alike.

    Standard errors are left out: questions, not choices, are what is sampled, and the
    comparison takes them from the scores.
    """
    first = several[0]
    tasks = zip(*(one.tasks for one in several), strict=True)
    categories = zip(*(one.categories for one in several), strict=True)
    return replace(
        first,
        value=fmean(one.value for one in several),
        stderr=None,
        tasks=tuple(_mean_task(same) for same in tasks),
        categories=tuple(
            replace(same[0], value=fmean(one.value for one in same), stderr=None)
            for same in categories
        ),
    )


def _mean_task(several: Sequence[TaskResult]) -> TaskResult:
    questions = zip(*(one.questions for one in several), strict=True)
    return replace(
        several[0],
        value=fmean(one.value for one in several),
        stderr=None,
        metrics={},
        questions=tuple(_mean_question(same) for same in questions),
    )


def _mean_question(several: Sequence[Question]) -> Question:
    score = fmean(one.score for one in several)
    return replace(several[0], score=score, answer=None)
