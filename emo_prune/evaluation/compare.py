"""Compare a model with its baseline on the very same questions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from emo_prune.errors import EvaluationError
from emo_prune.evaluation.flips import Flip, flips
from emo_prune.evaluation.matching import matched_questions, matched_tasks
from emo_prune.evaluation.results import Results, TaskResult
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

if TYPE_CHECKING:
    from emo_prune.evaluation.controls import Control

_SAME_PROMPTS = ("task", "num_fewshot", "answer", "protocol")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One category, or the headline, against the baseline.

    `value` and `baseline` are over the `n` questions both answered. In the comparison's
    unit: `difference` is value minus baseline, `stderr` its paired standard error,
    `interval` the 95 % interval, `min_detectable_drop` what such a test would see with
    80 % power (`statistics.min_detectable`); the last three are None if the metric is
    no mean over questions. `recovery` is the value in per cent of the baseline's (the
    other way round where lower is better; None if that divides by zero).

    Of right or wrong answers, else None: the questions only the baseline has right
    (`lost`), or only the model (`won`), and McNemar's exact p, that both are equally
    likely. The headline's are over all its questions, each counting once.
    """

    name: str
    in_headline: bool
    value: float
    baseline: float
    difference: float
    stderr: float | None
    interval: tuple[float, float] | None
    min_detectable_drop: float | None
    recovery: float | None
    n: int
    lost: int | None
    won: int | None
    mcnemar_p: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Every category and the headline: their unweighted mean, variances added.

    `num_unmatched`: questions only one of the two has answered (they count nowhere).
    `flips`: what only one of the two has right, in every category. `controls`: the
    model against experts that were not chosen for the task, where that was asked for.
    """

    model: str
    baseline: str
    metric: str
    higher_is_better: bool
    headline: Difference
    categories: tuple[Difference, ...]
    num_unmatched: int
    flips: tuple[Flip, ...]
    controls: tuple[Control, ...] = ()

    @property
    def unit(self) -> str:
        """What differences are counted in; a point is a hundredth of the metric."""
        return "points" if self.higher_is_better else self.metric

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object: all but the flips, which have a file of their own."""
        whole = asdict(self)
        del whole["flips"]
        return whole


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
        flips=tuple(flips(results, baseline)),
    )


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
        for mine, other in matched_tasks(results, baseline)
        if mine.category == category
    ]
    pairs = [pair for mine, other in tasks for pair in matched_questions(mine, other)]
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
