"""Compare a model with its baseline on the very same questions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from emo_prune.artifacts import Part
from emo_prune.errors import EvaluationError, Parameter
from emo_prune.evaluation.results import (
    Comparison,
    Difference,
    Question,
    Results,
    TaskResult,
)
from emo_prune.evaluation.statistics import (
    Estimate,
    interval,
    is_right_or_wrong,
    mcnemar_p,
    mean_of,
    min_detectable,
    paired_difference,
    weighted_mean,
)

_SAME_PROMPTS = ("task", "num_fewshot", "answer", "protocol")


def compare(results: Results, baseline: Results) -> Comparison:
    """Compare two results of one task, question by question.

    Questions are matched by lm-eval task and document hash; of equal documents in one
    task the first goes with the first.

    Raises:
        EvaluationError: the two answered other prompts, or have no question in common.
    """
    _refuse_other_prompts(results, baseline)
    sides = {
        category.name: found
        for category in results.categories
        if (found := _sides(category.name, results, baseline)) is not None
    }
    counted = [c.name for c in results.categories if c.in_headline and c.name in sides]
    if not counted:
        raise EvaluationError(
            "the two have no question in common",
            got=f"{results.model} and {baseline.model}",
            hint=(
                *("evaluate both with the same ", Parameter("limit")),
                *(" and ", Parameter("data_dir")),
            ),
        )
    rising = results.higher_is_better
    head = _Sides(
        value=mean_of([sides[name].value for name in counted]),
        baseline=mean_of([sides[name].baseline for name in counted]),
        difference=mean_of([sides[name].difference for name in counted]),
        flipped=_all_flipped(sides[name] for name in counted),
    )
    title = counted[0] if len(counted) == 1 else f"mean of {len(counted)} categories"
    matched = sum(side.value.n for side in sides.values())
    return Comparison(
        model=results.model,
        baseline=baseline.model,
        metric=results.metric,
        higher_is_better=rising,
        headline=head.difference_named(title, in_headline=True, rising=rising),
        categories=tuple(
            side.difference_named(name, in_headline=name in counted, rising=rising)
            for name, side in sides.items()
        ),
        num_unmatched=_num_scored(results) + _num_scored(baseline) - 2 * matched,
        controls=(),
    )


class Flip(Part, frozen=True, kw_only=True):
    """A question that is right in one alone: `lost` if in the baseline, else `won`.

    The answers are None where they are not known.
    """

    task: str
    category: str
    document_sha256: str
    change: Literal["lost", "won"]
    answer: str | None
    baseline_answer: str | None


def flips(results: Results, baseline: Results) -> tuple[Flip, ...]:
    """Return the questions that only one of the two has right, in the results' order.

    Only what is right or wrong flips; bits per byte and shares of a point do not.
    """
    return tuple(_flips(results, baseline))


def _flips(results: Results, baseline: Results) -> Iterator[Flip]:
    for mine, other in _matched_tasks(results, baseline):
        pairs = list(_matched_questions(mine, other))
        if not is_right_or_wrong([q.score for pair in pairs for q in pair]):
            continue
        for ours, theirs in pairs:
            if ours.score != theirs.score:
                yield Flip(
                    task=mine.name,
                    category=mine.category,
                    document_sha256=ours.document_sha256,
                    change="won" if ours.score else "lost",
                    answer=ours.answer,
                    baseline_answer=theirs.answer,
                )


def _matched_tasks(
    results: Results, baseline: Results
) -> Iterator[tuple[TaskResult, TaskResult]]:
    """Yield the lm-eval tasks of both, by name."""
    others = {task.name: task for task in baseline.tasks}
    for task in results.tasks:
        if task.name in others:
            yield task, others[task.name]


def _matched_questions(
    mine: TaskResult, other: TaskResult
) -> Iterator[tuple[Question, Question]]:
    """Yield the questions of both, by document hash.

    Of equal documents in one task the first goes with the first.
    """
    theirs = dict(_occurrences(other))
    for key, question in _occurrences(mine):
        if key in theirs:
            yield question, theirs[key]


def _occurrences(task: TaskResult) -> Iterator[tuple[tuple[str, int], Question]]:
    seen: Counter[str] = Counter()
    for question in task.questions:
        yield (question.document_sha256, seen[question.document_sha256]), question
        seen[question.document_sha256] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sides:
    """Both sides of one figure, and the difference question by question."""

    value: Estimate
    baseline: Estimate
    difference: Estimate
    flipped: tuple[int, int] | None

    def difference_named(
        self, name: str, *, in_headline: bool, rising: bool
    ) -> Difference:
        ours, theirs = self.value.value, self.baseline.value
        part, whole = (ours, theirs) if rising else (theirs, ours)
        # Accuracies differ by points; bits per byte and perplexities by themselves.
        change = self.difference.times(100.0 if rising else 1.0)
        lost, won = self.flipped or (None, None)
        return Difference(
            name=name,
            in_headline=in_headline,
            value=ours,
            baseline=theirs,
            difference=change.value,
            stderr=change.stderr,
            interval=interval(change.value, change.stderr),
            min_detectable_drop=min_detectable(change.stderr),
            recovery=100 * part / whole if whole else None,
            n=self.value.n,
            lost=lost,
            won=won,
            mcnemar_p=mcnemar_p(*self.flipped) if self.flipped else None,
        )


def _sides(category: str, results: Results, baseline: Results) -> _Sides | None:
    tasks = [
        (mine, other)
        for mine, other in _matched_tasks(results, baseline)
        if mine.category == category
    ]
    pairs = [pair for mine, other in tasks for pair in _matched_questions(mine, other)]
    if pairs:
        ours = [mine.score for mine, _ in pairs]
        theirs = [other.score for _, other in pairs]
        weights = [mine.weight for mine, _ in pairs]
        return _Sides(
            value=weighted_mean(ours, weights),
            baseline=weighted_mean(theirs, weights),
            difference=paired_difference(ours, theirs, weights),
            flipped=_flipped(ours, theirs),
        )
    if len(tasks) == 1 and not any(task.questions for task in tasks[0]):
        return _of_a_whole(*tasks[0])
    return None


def _flipped(ours: Sequence[float], theirs: Sequence[float]) -> tuple[int, int] | None:
    """Return how many questions were lost and won; None unless right or wrong."""
    if not is_right_or_wrong(ours, theirs):
        return None
    pairs = list(zip(ours, theirs, strict=True))
    return sum(a < b for a, b in pairs), sum(a > b for a, b in pairs)


def _all_flipped(parts: Iterable[_Sides]) -> tuple[int, int] | None:
    counts = [part.flipped for part in parts]
    known = [count for count in counts if count is not None]
    if len(known) < len(counts):
        return None
    return sum(lost for lost, _ in known), sum(won for _, won in known)


def _of_a_whole(mine: TaskResult, other: TaskResult) -> _Sides | None:
    """Compare figures that are no means over questions, if over as many of them."""
    if mine.n != other.n:
        return None
    return _Sides(
        value=Estimate(value=mine.value, stderr=None, n=mine.n),
        baseline=Estimate(value=other.value, stderr=None, n=other.n),
        difference=Estimate(value=mine.value - other.value, stderr=None, n=mine.n),
        flipped=None,
    )


def _num_scored(results: Results) -> int:
    return sum(task.n for task in results.tasks)


def _refuse_other_prompts(results: Results, baseline: Results) -> None:
    mine = {"task": results.task, **results.settings.to_dict()}
    other = {"task": baseline.task, **baseline.settings.to_dict()}
    for key in _SAME_PROMPTS:
        if mine[key] != other[key]:
            raise EvaluationError(
                f"the baseline answered other prompts: its {key} differs",
                where=baseline.model,
                got=other[key],
                expected=mine[key],
                hint="evaluate the baseline again with the same options",
            )
