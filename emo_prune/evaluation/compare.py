"""Compare a model with its baseline on the very same questions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from emo_prune.errors import EvaluationError, GateFailed
from emo_prune.evaluation.results import Question, Results, TaskResult
from emo_prune.evaluation.statistics import (
    Estimate,
    mean_of,
    paired_difference,
    weighted_mean,
)

_SAME_PROMPTS = ("task", "num_fewshot", "answer", "protocol")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One category, or the headline, against the baseline.

    `value` and `baseline` are over the `n` questions both answered, `difference` is
    value minus baseline and `interval` its paired 95 % interval (None if the metric is
    no mean over questions), both in the comparison's unit,
    `recovery` the value in per cent of the baseline's (the other way round where lower
    is better; None if that divides by zero).
    """

    name: str
    in_headline: bool
    value: float
    baseline: float
    difference: float
    interval: tuple[float, float] | None
    recovery: float | None
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Every category and the headline: their unweighted mean, variances added.

    `num_unmatched`: questions only one of the two has answered (they count nowhere).
    """

    model: str
    baseline: str
    metric: str
    higher_is_better: bool
    headline: Difference
    categories: tuple[Difference, ...]
    num_unmatched: int

    @property
    def unit(self) -> str:
        """What differences are counted in; a point is a hundredth of the metric."""
        return "points" if self.higher_is_better else self.metric


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
            hint="evaluate both with the same --limit and --data-dir",
        )
    rising = results.higher_is_better
    head = _Sides(
        value=mean_of([sides[name].value for name in counted]),
        baseline=mean_of([sides[name].baseline for name in counted]),
        difference=mean_of([sides[name].difference for name in counted]),
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
    )


def check_gates(
    comparison: Comparison,
    *,
    max_drop: float | None = None,
    min_recovery: float | None = None,
) -> None:
    """Judge the headline's point estimate.

    Args:
        comparison: from `compare`.
        max_drop: how much may be lost, in the comparison's unit (a gain is a negative
            loss).
        min_recovery: what per cent of the baseline must be left.

    Raises:
        GateFailed: with the figures; exit code 3.
        EvaluationError: a gate is not a finite number.
    """
    for gate in (max_drop, min_recovery):
        if gate is not None and not math.isfinite(gate):
            raise EvaluationError(
                "a gate is not a number",
                where="--max-drop or --min-recovery",
                got=str(gate),
                hint="try --max-drop 1.0",
            )
    head, unit = comparison.headline, comparison.unit
    lost = -head.difference if comparison.higher_is_better else head.difference
    where = f"{comparison.model} against {comparison.baseline}, {head.name}"
    band = "" if head.interval is None else " [{:+.2f}, {:+.2f}]".format(*head.interval)
    if max_drop is not None and lost > max_drop:
        raise GateFailed(
            "more is lost than --max-drop allows",
            where=where,
            got=f"{head.difference:+.2f}{band} {unit} on {head.n} questions",
            expected=f"at most {max_drop:g} {unit} lost",
            hint="keep more experts (--keep), or calibrate on more examples",
        )
    if min_recovery is not None and not (
        head.recovery is not None and head.recovery >= min_recovery
    ):
        share = "no baseline" if head.recovery is None else f"{head.recovery:.1f} %"
        raise GateFailed(
            "less is left than --min-recovery asks",
            where=where,
            got=f"{share} of the baseline's {head.baseline:.4f} on {head.n} questions",
            expected=f"at least {min_recovery:g} %",
            hint="keep more experts (--keep), or calibrate on more examples",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sides:
    """Both sides of one figure, and the difference question by question."""

    value: Estimate
    baseline: Estimate
    difference: Estimate

    def difference_named(
        self, name: str, *, in_headline: bool, rising: bool
    ) -> Difference:
        ours, theirs = self.value.value, self.baseline.value
        part, whole = (ours, theirs) if rising else (theirs, ours)
        # Accuracies differ by points; bits per byte and perplexities by themselves.
        scale = 100.0 if rising else 1.0
        return Difference(
            name=name,
            in_headline=in_headline,
            value=ours,
            baseline=theirs,
            difference=self.difference.value * scale,
            interval=self.difference.interval(scale),
            recovery=100 * part / whole if whole else None,
            n=self.value.n,
        )


def _sides(category: str, results: Results, baseline: Results) -> _Sides | None:
    others = {task.name: task for task in baseline.tasks}
    tasks = [
        (task, others[task.name])
        for task in results.tasks
        if task.category == category and task.name in others
    ]
    pairs = [pair for mine, other in tasks for pair in _matched(mine, other)]
    if pairs:
        ours = [mine.score for mine, _ in pairs]
        theirs = [other.score for _, other in pairs]
        weights = [mine.weight for mine, _ in pairs]
        return _Sides(
            value=weighted_mean(ours, weights),
            baseline=weighted_mean(theirs, weights),
            difference=paired_difference(ours, theirs, weights),
        )
    if len(tasks) == 1 and not any(task.questions for task in tasks[0]):
        return _of_a_whole(*tasks[0])
    return None


def _matched(
    mine: TaskResult, other: TaskResult
) -> Iterator[tuple[Question, Question]]:
    theirs = dict(_occurrences(other))
    for key, question in _occurrences(mine):
        if key in theirs:
            yield question, theirs[key]


def _occurrences(task: TaskResult) -> Iterator[tuple[tuple[str, int], Question]]:
    seen: Counter[str] = Counter()
    for question in task.questions:
        yield (question.document_sha256, seen[question.document_sha256]), question
        seen[question.document_sha256] += 1


def _of_a_whole(mine: TaskResult, other: TaskResult) -> _Sides | None:
    """Compare figures that are no means over questions, if over as many of them."""
    if mine.n != other.n:
        return None
    return _Sides(
        value=Estimate(value=mine.value, stderr=None, n=mine.n),
        baseline=Estimate(value=other.value, stderr=None, n=other.n),
        difference=Estimate(value=mine.value - other.value, stderr=None, n=mine.n),
    )


def _num_scored(results: Results) -> int:
    return sum(task.n for task in results.tasks)


def _refuse_other_prompts(results: Results, baseline: Results) -> None:
    mine = {"task": results.task, **asdict(results.settings)}
    other = {"task": baseline.task, **asdict(baseline.settings)}
    for key in _SAME_PROMPTS:
        if mine[key] != other[key]:
            raise EvaluationError(
                f"the baseline answered other prompts: its {key} differs",
                where=baseline.model,
                got=other[key],
                expected=mine[key],
                hint="evaluate the baseline again with the same options",
            )
