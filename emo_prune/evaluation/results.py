"""`results.json`: what an evaluation found, and what it means against a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import UNSET, Meta, UnsetType

from emo_prune.artifacts import Count, Document, Part, Positive, Sha256
from emo_prune.errors import EmoPruneError, EvaluationError
from emo_prune.facts import Versions

ControlKind = Literal["random", "other-task"]

Probability = Annotated[float, Meta(ge=0, le=1)]


class Question(Part, frozen=True, kw_only=True):
    """One scored document: 1.0 or 0.0 for accuracy; bits per byte for a text.

    document_sha256: of the question and its options. weight: its share of the mean: 1,
    or the bytes of a text. answer: what the model chose or wrote, None where nothing is
    answered.
    """

    document_sha256: Sha256
    score: float
    weight: Annotated[float, Meta(gt=0)] = 1.0
    answer: str | None = None


class TaskResult(Part, frozen=True, kw_only=True):
    """One lm-eval task. `metrics` holds all that lm-eval reports ("acc,none", ...).

    metric: the first that lm-eval lists for the task. questions: empty if the metric is
    no mean over questions (F1 over a corpus).
    """

    name: str
    category: str
    metric: str
    higher_is_better: bool
    value: float
    stderr: float | None
    n: Count
    metrics: Mapping[str, float]
    questions: tuple[Question, ...]


class CategoryResult(Part, frozen=True, kw_only=True):
    """One category: the mean over all its questions.

    num_tasks: lm-eval tasks (subjects of MMLU) that are pooled in it; of several the
    standard error is that of `statistics.pooled_mean`, tasks being clusters.
    """

    name: str
    in_headline: bool
    value: float
    stderr: float | None
    n: Count
    num_tasks: Positive


class Settings(Part, frozen=True, kw_only=True):
    """What decides the prompts and how the model reads them.

    limit: documents of each lm-eval task; None is all. max_length: context in tokens.
    """

    num_fewshot: Count
    answer: Literal["letter", "text"]
    protocol: Literal["standard", "emo"]
    limit: Positive | None
    max_length: Positive
    dtype: str


class Difference(Part, frozen=True, kw_only=True):
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
    n: Count
    lost: Count | None
    won: Count | None
    mcnemar_p: Probability | None


class Control(Part, frozen=True, kw_only=True):
    """A model against as many experts that were not chosen for the task.

    `headline` and `categories` have the control's figures as `baseline`. Of several
    choices (random ones, by `seeds`) that is the mean over them, question by question;
    `values` are the headline of each.
    """

    kind: ControlKind
    name: str
    seeds: tuple[Count, ...]
    values: Annotated[tuple[float, ...], Meta(min_length=1)]
    headline: Difference
    categories: tuple[Difference, ...]


class Comparison(Part, frozen=True, kw_only=True):
    """Every category and the headline: their unweighted mean, variances added.

    num_unmatched: questions only one of the two has answered (they count nowhere).
    controls: the model against experts that were not chosen for the task, where that
    was asked for.
    """

    model: str
    baseline: str
    metric: str
    higher_is_better: bool
    headline: Difference
    categories: tuple[Difference, ...]
    num_unmatched: Count
    controls: tuple[Control, ...] | UnsetType = UNSET

    @property
    def unit(self) -> str:
        """What differences are counted in; a point is a hundredth of the metric."""
        return "points" if self.higher_is_better else self.metric


class Verdict(Part, frozen=True, kw_only=True):
    """One gate, judged.

    `judged` is held against `limit`; `guarded` and `detectable` are losses in the same
    unit: the one the gate is to catch, and the smallest one that a paired test at 95 %
    would see with 80 % power on these questions (None if that is not known). confidence
    is that of the interval whose worse end is judged; None judges the point estimate.
    `figures` and `rule` say in words what was found and what was asked.

    met: the limit is kept. sees: such a test would see the loss that the gate is to
    catch. passed: the gate is met and, if strict, able to see.
    """

    gate: Literal["--max-drop", "--min-recovery", "--max-ppl-increase"]
    where: str
    unit: str
    limit: float
    judged: float | None
    confidence: float | None
    guarded: float
    detectable: float | None
    met: bool
    strict: bool
    figures: str
    rule: str
    sees: bool
    passed: bool


class Results(Document, frozen=True, kw_only=True, tag="emo-prune/results/1"):
    """An evaluation. `value` is the unweighted mean over the headline's categories.

    num_truncated: prompts longer than the model's context, cut on the left.
    prompts_sha256 covers every string the model was given, documents_sha256 every
    document's hash and its gold answer. comparison, gates: unset without a baseline, or
    without gates.
    """

    error: ClassVar[type[EmoPruneError]] = EvaluationError
    made_by: ClassVar[str] = "eval"

    model: str
    task: str
    settings: Settings
    metric: str
    higher_is_better: bool
    value: float
    stderr: float | None
    n: Count
    categories: Annotated[tuple[CategoryResult, ...], Meta(min_length=1)]
    tasks: Annotated[tuple[TaskResult, ...], Meta(min_length=1)]
    num_truncated: Count
    prompts_sha256: Sha256
    documents_sha256: Sha256
    versions: Versions
    comparison: Comparison | UnsetType = UNSET
    gates: tuple[Verdict, ...] | UnsetType = UNSET

    def __repr__(self) -> str:
        spread = "" if self.stderr is None else f" ± {self.stderr:.4f}"
        return (
            f"Results({self.model} on {self.task}: {self.metric} {self.value:.4f}"
            f"{spread}, {self.n} questions)"
        )

    @classmethod
    def _title(cls) -> str:
        return "results file"


class Evaluations(Document, frozen=True, kw_only=True, tag="emo-prune/evaluations/1"):
    """Several evaluations in one document, as the command line prints them."""

    error: ClassVar[type[EmoPruneError]] = EvaluationError
    made_by: ClassVar[str] = "eval"

    results: tuple[Results, ...]


def load_results(path: str | Path) -> Results:
    """Read a results.json.

    Raises:
        EvaluationError: it is missing, or not results.
    """
    return Results.load(path)
