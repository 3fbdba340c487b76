"""What a sweep computes: tasks, and the models that each of them is scored on.

A cell is one model on one task: the model whole, a subset of its experts (a budget, a
score and a number of examples make another one for each task), or another model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from emo_prune.architectures import Limits, MoEModel, dense_fingerprint
from emo_prune.architectures.opening import downloaded, open_model
from emo_prune.checkpoint import Checkpoint, open_checkpoint
from emo_prune.errors import Parameter, SettingsError
from emo_prune.evaluation import ScoredModel, scored_model
from emo_prune.facts import SCORING
from emo_prune.files import canonical_json, digest_of, versions
from emo_prune.options import (
    ScoringOptions,
    SweepOptions,
    needed_model,
    number_of_examples,
    several,
)
from emo_prune.routing.placement import resolved_dtype
from emo_prune.selection import (
    Budget,
    needs_outputs,
    parse_keep,
    resolve_budget,
)
from emo_prune.selection.scores import score_packages
from emo_prune.tasks import (
    MMLU_CATEGORIES,
    MMLU_PRO_CATEGORIES,
    Task,
    TaskOptions,
    parse_task,
    task_options,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepTask:
    """One column of a sweep; for a benchmark both sides are the same task."""

    calibration: Task
    scored: Task

    @property
    def name(self) -> str:
        """What results call it."""
        return self.scored.name

    @property
    def slug(self) -> str:
        """Its folder, and its column's heading."""
        return self.scored.slug

    @property
    def files(self) -> dict[str, Path]:
        """The files of examples it takes, by what they are for."""
        found = {"calibration": self.calibration.examples, "test": self.scored.examples}
        return {use: path for use, path in found.items() if path is not None}

    def absolute(self) -> SweepTask:
        """Return it with paths that mean the same in any working folder."""
        return SweepTask(
            calibration=_absolute(self.calibration), scored=_absolute(self.scored)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """A budget, a score, and a number of examples (None: all of them)."""

    budget: Budget
    score: str
    num_examples: int | None

    @property
    def size(self) -> str:
        """The number of examples, or all."""
        return "all" if self.num_examples is None else str(self.num_examples)

    @property
    def file(self) -> str:
        """The name of its cells' files; a package's score is another by version."""
        package = versions(*score_packages(self.score)).values()
        score = "@".join((self.score, *package))
        return f"{self.size}-{score}-{self.budget.num_experts}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherModel:
    """Another model, scored whole; `identity` tells it from every other."""

    model: ScoredModel
    num_bytes: int
    identity: str

    @property
    def file(self) -> str:
        """The name of its cells' files."""
        return f"other-{self.identity.removeprefix('sha256:')[:16]}"


GridRow = Subset | OtherModel | None  # None: the sweep's model, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The model of a sweep, and how it is asked and scored.

    opened, identity: its tensors and its fingerprint. prompts: how they are made.
    scoring: how a model answers them; its progress hears of the work.
    """

    model: ScoredModel
    opened: MoEModel
    identity: str
    prompts: TaskOptions
    scoring: ScoringOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid(Setup):
    """Everything a sweep computes, found and checked before a model is loaded."""

    tasks: tuple[SweepTask, ...]
    budgets: tuple[Budget, ...]
    subsets: tuple[Subset, ...]
    others: tuple[OtherModel, ...]
    lower_top_k: bool

    @property
    def sizes(self) -> dict[str, int | None]:
        """The sizes of calibration, by name."""
        return {subset.size: subset.num_examples for subset in self.subsets}

    @property
    def outputs(self) -> bool:
        """Whether a score needs the outputs of experts."""
        return any(needs_outputs(subset.score) for subset in self.subsets)

    @property
    def key(self) -> dict[str, object]:
        """What must be alike for cells to stand in one table."""
        return {
            "model": self.identity,
            "dtype": resolved_dtype(self.opened, self.scoring.dtype),
            "num_fewshot": self.prompts.num_fewshot,
            "answer": self.prompts.answer,
            "protocol": self.prompts.protocol,
            "seed": self.prompts.seed,
            "limit": self.scoring.limit,
            "lower_top_k": self.lower_top_k,
            "versions": versions(*SCORING),
        }

    def name(self, row: GridRow) -> str:
        """Return what results call a row."""
        if isinstance(row, Subset):
            kept, total = row.budget.num_experts, self.opened.num_experts
            return f"{self.model.name}, {kept} of {total} experts"
        return (row or self).model.name

    def title(self, row: GridRow) -> str:
        """Return what progress calls a row."""
        if isinstance(row, Subset):
            return f"{row.budget.keep.text} {row.score}, {row.size} examples"
        return "full" if row is None else row.model.name


def sweep_tasks(options: SweepOptions) -> tuple[SweepTask, ...]:
    """Return the tasks that names and pairs of files stand for.

    `mmlu` and `mmlu-pro` stand for their categories. The first file to calibrate on
    goes with the first to score, and so on; the latter gives the task its name.

    Raises:
        SettingsError: there is no task, a file has no partner, or two tasks would have
            the same name.
        UnknownTask: a name is none of a task.
    """
    names: tuple[str, ...] = several(options.tasks)
    examples: tuple[str | Path, ...] = several(options.examples)
    tests: tuple[str | Path, ...] = several(options.test)
    if len(examples) != len(tests):
        raise SettingsError(
            "each file to calibrate on needs one to score",
            where=(Parameter("examples"), " and ", Parameter("test")),
            got=f"{len(examples)} and {len(tests)} files",
            hint=(
                *("give ", Parameter("examples", "CALIBRATION.jsonl"), " and "),
                *(Parameter("test", "TEST.jsonl"), ", pair by pair"),
            ),
        )
    found = [SweepTask(calibration=task, scored=task) for task in _named(names)]
    found += [
        SweepTask(calibration=parse_task(None, file), scored=parse_task(None, test))
        for file, test in zip(examples, tests, strict=True)
    ]
    if not found:
        raise SettingsError(
            "there is no task to sweep over",
            expected=(
                *(Parameter("tasks"), ", or ", Parameter("examples")),
                *(" and ", Parameter("test")),
            ),
            hint=("try ", Parameter("tasks", "mmlu")),
        )
    counts = Counter(task.slug for task in found)
    slug, count = counts.most_common(1)[0]
    if count > 1:
        raise SettingsError(
            "two tasks of the sweep have the same name",
            where=(Parameter("tasks"), " or ", Parameter("test")),
            got=slug,
            hint="name each task once, and give the files to score different names",
        )
    return tuple(found)


def sweep_grid(options: SweepOptions, tasks: tuple[SweepTask, ...]) -> Grid:
    """Find the models of a sweep, and check its budgets against their headers.

    Raises:
        BudgetError: a budget is not possible.
        CheckpointError, ArchitectureError: a model cannot be used.
    """
    model = needed_model(options.model, options.verb)
    scores: tuple[str, ...] = several(options.scores)
    sizes: tuple[str | int, ...] = several(options.calibration)
    also: tuple[str | Path, ...] = several(options.also)
    # Headers first: a budget that cannot be must not cost a download.
    seen = open_model(model)
    budgets = _budgets(options, seen)
    for name in also:
        open_checkpoint(str(name))
    opened = downloaded(seen, model)
    return Grid(
        model=scored_model(opened.folder),
        opened=opened.model,
        identity=opened.fingerprint,
        prompts=task_options(options, options.seed),
        scoring=options,
        tasks=tasks,
        budgets=budgets,
        subsets=tuple(
            Subset(budget=budget, score=score, num_examples=size)
            for score in dict.fromkeys(scores)
            for size in dict.fromkeys(map(_size, sizes))
            for budget in budgets
        ),
        others=tuple(_other(name) for name in dict.fromkeys(also)),
        lower_top_k=options.lower_top_k,
    )


def _named(names: Sequence[str]) -> Iterator[Task]:
    for name in names:
        task = parse_task(name)
        if task.kind in ("mmlu", "mmlu-pro") and task.category is None:
            of_mmlu = task.kind == "mmlu"
            categories = MMLU_CATEGORIES if of_mmlu else MMLU_PRO_CATEGORIES
            yield from (
                parse_task(f"{task.name}:{category}") for category in categories
            )
        else:
            yield task


def _absolute(task: Task) -> Task:
    if task.examples is None:
        return task
    return replace(task, examples=task.examples.absolute())


def _size(text: str | int) -> int | None:
    return number_of_examples(text, Parameter("calibration"))


def _budgets(options: SweepOptions, model: MoEModel) -> tuple[Budget, ...]:
    """Return the budgets, each number of experts once."""
    keeps: tuple[str | int | float, ...] = several(options.keep)
    found: dict[int, Budget] = {}
    for keep in keeps:
        budget = resolve_budget(
            parse_keep(keep), Limits.of(model), lower_top_k=options.lower_top_k
        )
        found.setdefault(budget.num_experts, budget)
    return tuple(found.values())


def _other(name: str | Path) -> OtherModel:
    model = scored_model(name)
    checkpoint = open_checkpoint(str(model.folder))
    return OtherModel(
        model=model, num_bytes=checkpoint.num_bytes, identity=_identity(checkpoint)
    )


def _identity(checkpoint: Checkpoint) -> str:
    """Tell checkpoints of any kind apart, by all of the config and samples of weights.

    A fingerprint leaves out keys that decide the type of numbers a model computes with.
    """
    facts = (canonical_json(dict(checkpoint.config)), dense_fingerprint(checkpoint))
    return digest_of(fact.encode() for fact in facts)
