"""Exports and other checkpoints, scored: which, on what, and against what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from emo_prune import places
from emo_prune.architectures.opening import open_local
from emo_prune.errors import Command, EvaluationError, Parameter, SettingsError
from emo_prune.evaluation.controls import (
    PlannedControl,
    WantedControl,
    plan_controls,
)
from emo_prune.evaluation.evaluation import Evaluation
from emo_prune.evaluation.gates import Gates
from emo_prune.evaluation.prompts import checked_prompts, prompts_as_selected
from emo_prune.evaluation.results import Results
from emo_prune.evaluation.scorer import ScoredModel, Scorer, scored_model
from emo_prune.exports import find_source
from emo_prune.options import EvaluateOptions
from emo_prune.selection import load_selection
from emo_prune.tasks import EvaluationSet, Task, TaskOptions, parse_task


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A checkpoint, its baseline, and what they are asked, all of it found."""

    model: ScoredModel
    baseline: ScoredModel | None
    task: Task
    prompts: TaskOptions
    file: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The prompts of a job, and the controls of its export, on the baseline."""

    evaluation: EvaluationSet
    controls: tuple[PlannedControl, ...]


def score_checkpoints(
    options: EvaluateOptions,
    gates: Gates,
    controls: tuple[WantedControl, ...],
    by_default: bool,
) -> Iterator[Evaluation]:
    """Score checkpoints; all are found and checked before the first one is loaded.

    A baseline that several share on the same task is scored once.
    """
    against = None if options.baseline is None else str(options.baseline)
    if against is None and (gates.any or options.samples is not None):
        against = "source"  # either compares
    jobs = _jobs(options, against, bool(controls), by_default)
    for job in jobs:
        gates.refuse_for(job.task)
    refuse_same_file([job.file for job in jobs])
    asked = [_asked(options, job, controls) for job in jobs]
    known: dict[object, Results] = {}
    for job, ask in zip(jobs, asked, strict=True):
        found = Evaluation(
            results=_score(options, job.model, ask.evaluation), file=job.file
        )
        base = job.baseline
        if base is None:
            yield found
        elif ask.controls:
            with Scorer.load(base.folder, base.name, options) as scorer:
                whole = scorer.score(ask.evaluation, base.name)
                scored = tuple(
                    control.score(found.results, scorer, ask.evaluation)
                    for control in ask.controls
                )
            yield found.against(whole, scored)
        else:
            key = (base.folder, job.task, job.prompts)
            if key not in known:
                known[key] = _score(options, base, ask.evaluation)
            yield found.against(known[key])


def _score(
    options: EvaluateOptions, model: ScoredModel, evaluation: EvaluationSet
) -> Results:
    with Scorer.load(model.folder, model.name, options) as scorer:
        return scorer.score(evaluation, model.name)


def _jobs(
    options: EvaluateOptions, against: str | None, controlled: bool, by_default: bool
) -> list[_Job]:
    """Return the checkpoints to score, each with its task and its baseline."""
    models = _models(options)
    jobs = []
    for model in models:
        task = _task(options, model, among_others=len(models) > 1)
        if task is None:
            continue
        file = None
        if by_default or options.output is not None:
            file = places.results_file(
                None if options.output is None else Path(options.output),
                model.folder,
                task.slug,
                model.record is not None,
            )
        jobs.append(
            _Job(
                model=model,
                baseline=_baseline(model, against, controlled=controlled),
                task=task,
                prompts=prompts_as_selected(options, task, model.calibration),
                file=file,
            )
        )
    if not jobs:
        raise SettingsError(
            "every export was selected on a file of examples",
            where=places.ROOT,
            expected="examples to score, other than those",
            hint=("add ", Parameter("examples"), ", or ", Parameter("task")),
        )
    return jobs


def _models(options: EvaluateOptions) -> list[ScoredModel]:
    """Return what is to be scored: one checkpoint, or every export."""
    if named := named_checkpoint(options):
        return [scored_model(named)]
    found = places.exports()
    if not found:
        raise EvaluationError(
            "there is no export to score",
            where=places.ROOT,
            expected=f"{places.ROOT}/<task>/{places.CHECKPOINT}",
            hint=("run ", Command("export"), " first, or give a checkpoint folder"),
        )
    models = [scored_model(folder) for folder in found]
    for model in models:
        _tell_if_outdated(options, model)
    return models


def named_checkpoint(options: EvaluateOptions) -> str | None:
    """Return the checkpoint that was named, of which there is one at most."""
    named = (options.path, options.export, options.model)
    return next((str(one) for one in named if one is not None), None)


def _tell_if_outdated(options: EvaluateOptions, model: ScoredModel) -> None:
    """Say so if the selection beside an export is not the one it was made from."""
    file = model.folder.parent / places.SELECTION
    if model.record is None or not file.is_file():
        return
    if load_selection(file).sha256 != model.record.selection_sha256:
        options.progress.say(
            f"{model.folder} was made from an earlier selection; export again, with "
            "force, makes it anew"
        )


def _task(
    options: EvaluateOptions, model: ScoredModel, *, among_others: bool
) -> Task | None:
    """Return the task asked for, else the one an export was selected for.

    None, with a word, for one of several exports that was selected on a file.
    """
    selected = "" if model.calibration is None else model.calibration.task
    if options.task is not None or options.examples is not None or not selected:
        return parse_task(options.task, options.examples)
    if not selected.startswith("examples:"):
        return parse_task(selected)
    if among_others:
        options.progress.say(
            f"{model.folder} is left out: it needs examples, or a task"
        )
        return None
    raise SettingsError(
        "the export was selected on a file of examples",
        where=model.folder,
        got=selected,
        expected="examples to score, other than those",
        hint=(
            "add ",
            Parameter("examples", "FILE"),
            ", or ",
            Parameter("task", "NAME"),
        ),
    )


def _baseline(
    model: ScoredModel, against: str | None, *, controlled: bool
) -> ScoredModel | None:
    """Return what a model is compared with; controls are scored on an export's source.

    Raises:
        SettingsError: controls of what is no export, or against another baseline.
        EvaluationError: the source of what is no export.
    """
    if controlled and model.record is None:
        raise SettingsError(
            "a control keeps as many experts as a selection",
            where=Parameter("control"),
            got=f"{model.name}, which is not an export",
            expected="an export, or a selection",
            hint=(
                *("give an export, or ", Parameter("model", "MODEL"), " and "),
                Parameter("selection", places.SELECTION),
            ),
        )
    if controlled and against not in (None, "source"):
        raise SettingsError(
            "controls are compared on the export's own source",
            where=Parameter("baseline"),
            got=against,
            expected="source",
            hint=("leave out ", Parameter("baseline"), " or ", Parameter("control")),
        )
    if not controlled and against != "source":
        return None if against is None else scored_model(against)
    if model.record is None:
        raise EvaluationError(
            "there is nothing to compare with",
            where=model.name,
            got=("a checkpoint that is not an export, and no ", Parameter("baseline")),
            expected="an export, which records its source, or a baseline",
            hint=("add ", Parameter("baseline", "MODEL")),
        )
    return scored_model(find_source(model.record.selection))


def _asked(
    options: EvaluateOptions, job: _Job, wanted: tuple[WantedControl, ...]
) -> _Asked:
    """Build a job's prompts and controls, none of whose documents are scored."""
    controls: tuple[PlannedControl, ...] = ()
    if wanted and job.baseline and job.model.record:
        (controls,) = plan_controls(
            wanted,
            [job.model.record.selection],
            open_local(str(job.baseline.folder))[0],
            job.baseline.folder,
            job.prompts.data_dir,
            options.progress,
        )
    documents = set(job.model.documents)
    documents.update(job.baseline.documents if job.baseline else ())
    documents.update(*(control.documents for control in controls))
    evaluation = checked_prompts(options, job.task, job.prompts, job.model, documents)
    return _Asked(evaluation=evaluation, controls=controls)


def refuse_same_file(files: Sequence[Path | None]) -> None:
    """Raise `SettingsError` if two results have the same place."""
    resolved = [file.resolve() for file in files if file is not None]
    for file in resolved:
        if resolved.count(file) > 1:
            raise SettingsError(
                "several results would go into one file",
                where=file,
                hint=(
                    *("leave out ", Parameter("output"), ": results go beside "),
                    "exports and selections; rename those that lie in one folder",
                ),
            )
