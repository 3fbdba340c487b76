"""Selections that a command is given: read, or scored without an export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_prune import places
from emo_prune.errors import BadSelection, SettingsError

if TYPE_CHECKING:
    from emo_prune.evaluation import Comparison, Results
    from emo_prune.progress import Progress
    from emo_prune.selection import Selection
    from emo_prune.tasks import Task


def read_selection(file: Path) -> Selection:
    """Return the selection a file holds.

    Raises:
        BadSelection: it cannot be read, or is none.
    """
    from emo_prune.selection import parse_selection

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadSelection(
            "the selection cannot be read",
            where=file,
            got=getattr(error, "strerror", None) or str(error),
            hint="give --selection the selection.json that `select` wrote",
        ) from None
    return parse_selection(text, str(file))


def score_selections(
    selected: Sequence[Path],
    *,
    model: str | None,
    task: Task | None,
    options: Mapping[str, Any],
    common: Mapping[str, Any],
    output: Path | None,
    progress: Progress,
) -> tuple[list[Path], Iterator[tuple[Results, Comparison | None]]]:
    """Return where results go and what will give them: the whole model's come first.

    `options` are those of `TaskOptions` that were given, `common` of the request.

    Raises:
        SettingsError: the selections' tasks or prompts differ, and none were given;
            or several results would go into one file.
        EmoPruneError: a selection cannot be read, or its model is not found.
    """
    from emo_prune.checkpoint import local_folder
    from emo_prune.evaluation.evaluate_selections import (
        SelectionsRequest,
        evaluate_selections,
    )
    from emo_prune.exports import find_source
    from emo_prune.tasks import TaskOptions

    found = [read_selection(file) for file in selected]
    task = task or _common_task(found)
    prompts = _common_prompts(found, task, options)
    folder = local_folder(model or find_source(found[0]))
    beside = output.parent if output and output.suffix == ".json" else output
    files = [places.results_file(beside, folder, task.slug, False)]
    if beside is not None:
        files[0] = files[0].with_name(f"results-{folder.resolve().name}.json")
    files += [places.results_of_selection(output, file) for file in selected]
    _refuse_same_file(files)
    request = SelectionsRequest(
        model=str(folder),
        task=task,
        options=TaskOptions(**prompts),
        selections=tuple(found),
        **common,
    )
    return files, evaluate_selections(request, progress)


def as_selected(calibration: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """Return how a selection's own prompts were made: its evaluation makes the same.

    `calibration` is the selection's, empty where there was none.
    """
    if task.kind == "examples":
        return {}
    keys = ["answer", "protocol"]
    if task.name == calibration.get("task"):
        keys.append("num_fewshot")
    return {key: calibration[key] for key in keys if calibration.get(key) is not None}


def _common_task(selections: Sequence[Selection]) -> Task:
    from emo_prune.tasks import parse_task

    names = list(dict.fromkeys(str(s.calibration.task) for s in selections))
    if len(names) == 1 and not names[0].startswith("examples:"):
        return parse_task(names[0])
    raise SettingsError(
        "the selections do not say which task to score"
        if len(names) == 1
        else "the selections are of different tasks",
        where="--selection",
        got=" and ".join(names),
        expected="one task to score them all on, or a file of examples",
        hint="add --task NAME, or --examples FILE",
    )


def _common_prompts(
    selections: Sequence[Selection], task: Task, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options of prompts: what was given, else what selections record."""
    first, *others = (
        as_selected(selection.calibration, task) | dict(given)
        for selection in selections
    )
    for other in others:
        if other != first:
            raise SettingsError(
                "the selections were made with different prompts",
                where="--selection",
                got=f"{first} and {other}",
                hint="give --num-fewshot, --answer and --protocol",
            )
    return first


def _refuse_same_file(files: Sequence[Path]) -> None:
    resolved = [file.resolve() for file in files]
    for file in files:
        if resolved.count(file.resolve()) > 1:
            raise SettingsError(
                "several results would go into one file",
                where=file,
                hint="leave out -o: results go beside the selections; rename those "
                "that lie in one folder",
            )
