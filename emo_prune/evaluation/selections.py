"""Selections, scored without an export: on one model, its routers masked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from emo_prune import places
from emo_prune.architectures import MoEModel
from emo_prune.architectures.opening import open_local
from emo_prune.checkpoint import local_folder
from emo_prune.errors import Command, Parameter, SettingsError
from emo_prune.evaluation.checkpoints import refuse_same_file
from emo_prune.evaluation.controls import (
    PlannedControl,
    WantedControl,
    plan_controls,
)
from emo_prune.evaluation.evaluation import Evaluation
from emo_prune.evaluation.gates import Gates
from emo_prune.evaluation.prompts import checked_prompts, prompts_as_selected
from emo_prune.evaluation.scorer import ScoredModel, Scorer, scored_model, subset_name
from emo_prune.exports import find_source
from emo_prune.options import EvaluateOptions, several
from emo_prune.selection import Selection, check_selection, load_selection
from emo_prune.tasks import Task, TaskOptions, parse_task


def score_selections(
    options: EvaluateOptions,
    gates: Gates,
    controls: tuple[WantedControl, ...],
    by_default: bool,
) -> Iterator[Evaluation]:
    """Score a model, then what the export of each selection would be.

    The model is loaded once, after everything was checked; for a selection its routers
    are masked, and nothing is exported.
    """
    given = several(options.selection)
    selections = [_selection(one) for one in given]
    task = _common_task(options, selections)
    prompts = _common_prompts(options, selections, task)
    folder = local_folder(str(options.model or find_source(selections[0])))
    files = _files_of_selections(options, given, folder, task, by_default)
    gates.refuse_for(task)
    refuse_same_file(files)
    whole = scored_model(folder)
    opened, identity = open_local(str(folder))
    planned = _planned(options, controls, selections, opened, identity, whole)
    documents = set(whole.documents)
    documents.update(*(one.calibration.documents for one in selections))
    documents.update(*(one.documents for own in planned for one in own))
    evaluation = checked_prompts(options, task, prompts, whole, documents)
    with Scorer.load(folder, whole.name, options) as scorer:
        baseline = scorer.score(evaluation, whole.name)
        yield Evaluation(results=baseline, file=files[0])
        for selection, own, file in zip(selections, planned, files[1:], strict=True):
            results = scorer.score(
                evaluation, subset_name(selection), selection.kept, selection.top_k
            )
            scored = tuple(one.score(results, scorer, evaluation) for one in own)
            yield Evaluation(results=results, file=file).against(baseline, scored)


def _selection(given: object) -> Selection:
    if isinstance(given, Selection):
        return given
    if isinstance(given, str | Path):
        return load_selection(given)
    raise SettingsError(
        "this is not a selection",
        where=Parameter("selection"),
        got=type(given).__name__,
        expected=f"a {places.SELECTION}, or what select returns",
        hint=("make one with ", Command("select", {"task": "math"})),
    )


def _planned(
    options: EvaluateOptions,
    controls: tuple[WantedControl, ...],
    selections: Sequence[Selection],
    opened: MoEModel,
    identity: str,
    whole: ScoredModel,
) -> list[tuple[PlannedControl, ...]]:
    """Check the selections against their model, and plan the controls of each."""
    for selection in selections:
        check_selection(selection, opened, identity)
    return plan_controls(
        controls,
        selections,
        opened,
        whole.folder,
        None if options.data_dir is None else Path(options.data_dir),
        options.progress,
    )


def _common_task(options: EvaluateOptions, selections: Sequence[Selection]) -> Task:
    if options.task is not None or options.examples is not None:
        return parse_task(options.task, options.examples)
    names = list(dict.fromkeys(one.calibration.task for one in selections))
    if len(names) == 1 and not names[0].startswith("examples:"):
        return parse_task(names[0])
    raise SettingsError(
        "the selections do not say which task to score"
        if len(names) == 1
        else "the selections are of different tasks",
        where=Parameter("selection"),
        got=" and ".join(names),
        expected="one task to score them all on, or a file of examples",
        hint=(
            "add ",
            Parameter("task", "NAME"),
            ", or ",
            Parameter("examples", "FILE"),
        ),
    )


def _common_prompts(
    options: EvaluateOptions, selections: Sequence[Selection], task: Task
) -> TaskOptions:
    """Return how prompts are made: as was asked for, else as all selections record."""
    first, *others = (
        prompts_as_selected(options, task, one.calibration) for one in selections
    )
    for other in others:
        if other != first:
            raise SettingsError(
                "the selections were made with different prompts",
                where=Parameter("selection"),
                got=f"{first} and {other}",
                hint=(
                    *("give ", Parameter("num_fewshot"), ", ", Parameter("answer")),
                    *(" and ", Parameter("protocol")),
                ),
            )
    return first


def _files_of_selections(
    options: EvaluateOptions,
    given: Sequence[object],
    folder: Path,
    task: Task,
    by_default: bool,
) -> list[Path | None]:
    """Return where results go: the whole model's, then those of each selection.

    A selection in memory has no place but where `output` says.
    """
    output = None if options.output is None else Path(options.output)
    if output is None and not by_default:
        return [None] * (len(given) + 1)
    whole = None
    if output is not None:
        beside = output.parent if output.suffix == ".json" else output
        whole = beside / f"results-{folder.resolve().name}.json"
    files: list[Path | None] = [
        places.results_file(whole, folder, task.slug, is_export=False)
    ]
    for one in given:
        if isinstance(one, str | Path):
            files.append(places.results_of_selection(output, Path(one)))
        elif output is not None:
            files.append(places.results_of_selection(output, Path(places.SELECTION)))
        else:
            files.append(None)
    return files
