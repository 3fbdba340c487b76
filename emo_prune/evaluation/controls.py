"""Controls: as many experts, chosen at random or for another task.

Does a subset know its task, or would any experts have done? All are scored on the
selection's own model, whose routers are masked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Protocol

from msgspec.structs import replace

from emo_prune.architectures import Limits, MoEModel
from emo_prune.errors import Parameter, SettingsError
from emo_prune.evaluation.compare import compare
from emo_prune.evaluation.results import (
    Control,
    ControlKind,
    Question,
    Results,
    TaskResult,
)
from emo_prune.evaluation.scorer import Scorer
from emo_prune.progress import Progress
from emo_prune.routing import LayerRouting
from emo_prune.routing.calibration import Calibrated, calibrate
from emo_prune.selection import Budget, Selection, choose_at_random, parse_keep
from emo_prune.selection.chooser import Chooser
from emo_prune.tasks import (
    MMLU_CATEGORIES,
    MMLU_PRO_CATEGORIES,
    EvaluationSet,
    Task,
    TaskOptions,
    parse_task,
)

SEEDS = (0, 1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedControl:
    """A control as the user wrote it; `other` is None where none was named."""

    kind: ControlKind
    other: Task | None = None


class PlannedControl(Protocol):
    """A control of one selection, checked, before the model is loaded."""

    @property
    def documents(self) -> frozenset[str]:
        """Hashes of the documents that choose its experts."""

    def score(
        self, results: Results, scorer: Scorer, evaluation: EvaluationSet
    ) -> Control:
        """Score it, and compare the selection's own results with it."""


def parse_control(text: str) -> WantedControl:
    """Read `random`, `other-task`, or `other-task:` and a task or file of examples.

    Raises:
        SettingsError: it is none of these.
        UnknownTask: the task does not exist.
    """
    kind, colon, name = text.strip().partition(":")
    if kind == "random" and not colon:
        return WantedControl(kind="random")
    if kind == "other-task" and not colon:
        return WantedControl(kind="other-task")
    if kind == "other-task" and name:
        file = Path(name)
        other = parse_task(None, file) if file.is_file() else parse_task(name)
        return WantedControl(kind="other-task", other=other)
    raise SettingsError(
        "there is no such control",
        where=Parameter("control"),
        got=repr(text),
        expected="random, other-task, or other-task:TASK",
        hint=("try ", Parameter("control", "random")),
    )


def plan_controls(
    wanted: Sequence[WantedControl],
    selections: Sequence[Selection],
    model: MoEModel,
    folder: Path,
    data_dir: Path | None,
    progress: Progress,
) -> list[tuple[PlannedControl, ...]]:
    """Find and check all that the controls of each selection need, but for the model.

    `folder` holds the model. Another task's examples are as many as the selection's,
    made as those were, and choose by its score; selections share them.

    Raises:
        SettingsError: no other task is known, or a random selection has none.
        EmoPruneError: the other task or its data cannot be used.
    """
    limits = Limits.of(model)
    known: dict[object, _Examples] = {}

    def examples_of(selection: Selection, other: Task) -> _Examples:
        prompts = _as_calibrated(selection, other, data_dir)
        num_examples = max(1, selection.calibration.num_examples)
        key = (other, prompts, num_examples)
        if key not in known:
            found = calibrate(
                other,
                prompts,
                num_examples,
                config=model.config,
                folder=folder,
                progress=progress,
            )
            known[key] = _Examples(found)
        return known[key]

    def planned(one: WantedControl, selection: Selection) -> PlannedControl:
        if one.kind == "random":
            return _Random(limits=limits, budget=_budget(selection))
        other = one.other or _neighbour(selection.calibration.task)
        _refuse_same_task(other, selection)
        examples = examples_of(selection, other)
        return _OtherTask(
            selection=selection, limits=limits, model=model, examples=examples
        )

    return [tuple(planned(one, of) for one in wanted) for of in selections]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Random:
    limits: Limits
    budget: Budget

    @property
    def documents(self) -> frozenset[str]:
        return frozenset()

    def score(
        self, results: Results, scorer: Scorer, evaluation: EvaluationSet
    ) -> Control:
        scored = [
            scorer.score(
                evaluation,
                f"random experts, seed {seed}",
                choose_at_random(self.limits, self.budget, seed),
                self.budget.top_k,
            )
            for seed in SEEDS
        ]
        return against_control(
            results,
            scored,
            kind="random",
            name=f"random experts ({len(SEEDS)} seeds)",
            seeds=SEEDS,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _OtherTask:
    selection: Selection
    limits: Limits
    model: MoEModel
    examples: _Examples

    @property
    def documents(self) -> frozenset[str]:
        return frozenset(self.examples.calibrated.facts.documents)

    def score(
        self, results: Results, scorer: Scorer, evaluation: EvaluationSet
    ) -> Control:
        name = f"experts of {self.examples.calibrated.facts.task}"
        chosen = self._chosen(scorer)
        scored = scorer.score(evaluation, name, chosen, self.selection.top_k)
        return against_control(results, [scored], kind="other-task", name=name)

    def _chosen(self, scorer: Scorer) -> Mapping[int, tuple[int, ...]]:
        method = self.selection.method
        chooser = Chooser(
            limits=self.limits,
            budget=_budget(self.selection),
            score=str(method.score),
            seed=method.seed or 0,
            greedy=bool(method.greedy),
        )
        self.examples.show(self.model, scorer, chooser)
        return {layer.layer: layer.kept for layer in chooser.chosen}


class _Examples:
    """Another task's examples, and what came of running them through the model."""

    def __init__(self, calibrated: Calibrated) -> None:
        self.calibrated = calibrated
        self._observed: dict[bool, list[LayerRouting]] = {}

    def show(self, model: MoEModel, scorer: Scorer, chooser: Chooser) -> None:
        """Show a chooser the routing; only a greedy choice runs the examples again."""
        known = self._observed.get(chooser.needs_outputs)
        if known is not None and not chooser.greedy:
            for layer in known:
                chooser.choose(layer)
            return
        layers = chooser.observe(
            scorer.model, model, self.calibrated.batches, scorer.progress
        )
        if not chooser.greedy:
            self._observed[chooser.needs_outputs] = layers


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


def _budget(selection: Selection) -> Budget:
    kept = int(selection.budget.num_experts)
    keep = parse_keep(str(kept))
    return Budget(keep=keep, num_experts=kept, top_k=selection.top_k)


def _neighbour(task: str) -> Task:
    """Return the category that follows in the alphabet, but never `other`."""
    benchmark, _, category = task.partition(":")
    known = {"mmlu": tuple(MMLU_CATEGORIES), "mmlu-pro": MMLU_PRO_CATEGORIES}
    names = [name for name in sorted(known.get(benchmark, ())) if name != "other"]
    if category not in (*names, "other") or not names:
        raise SettingsError(
            "no task is known to be another one than this",
            where=Parameter("control", "other-task"),
            got=task,
            expected="a category of MMLU or MMLU-Pro, or the other task's name",
            hint=("try ", Parameter("control", "other-task:law")),
        )
    later = [name for name in names if name > category]
    return parse_task(f"{benchmark}:{(later or names)[0]}")


def _refuse_same_task(other: Task, selection: Selection) -> None:
    if selection.method.score == "random":
        raise SettingsError(
            "experts chosen at random are those of no task",
            where=Parameter("control", "other-task"),
            got="a selection by the score random",
            hint="select by frequency or probability, or leave the control out",
        )
    if other.name == selection.calibration.task:
        raise SettingsError(
            "the other task is the selection's own",
            where=Parameter("control", "other-task"),
            got=other.name,
            hint="name a task that the experts were not chosen for",
        )


def _as_calibrated(
    selection: Selection, other: Task, data_dir: Path | None
) -> TaskOptions:
    """Return how the selection's examples were made, as far as another task can."""
    made = selection.calibration
    alike = made.task.startswith(f"{other.kind}:")
    return TaskOptions(
        num_fewshot=(made.num_fewshot or None) if alike else None,
        answer=made.answer or "letter",
        protocol=made.protocol or "standard",
        data_dir=data_dir,
        seed=made.seed or 0,
    )
