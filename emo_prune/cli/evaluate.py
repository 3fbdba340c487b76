"""`emo-prune eval`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emo_prune.cli import console, options, places
from emo_prune.errors import EvaluationError, SettingsError

if TYPE_CHECKING:
    from emo_prune.evaluation import Comparison, Results
    from emo_prune.tasks import Task


def evaluate(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="An export, or any checkpoint folder. (default: each export under "
            "emo-prune-out/)",
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            envvar="EMO_PRUNE_EXPORT",
            help="The same as PATH.",
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Score this checkpoint (folder or Hub id) instead of an export.",
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            envvar="EMO_PRUNE_BASELINE",
            help="Compare with this checkpoint; `source` is the one the export was "
            "made from.",
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    task: options.TaskName = None,
    examples: options.Examples = None,
    num_fewshot: options.NumFewshot = None,
    answer: options.Answer = None,
    protocol: options.Protocol = None,
    limit: Annotated[
        int | None,
        typer.Option(
            envvar="EMO_PRUNE_LIMIT",
            min=1,
            help="Score only so many documents of each lm-eval task (each MMLU "
            "subject is one).",
            rich_help_panel=options.TASK,
        ),
    ] = None,
    data_dir: options.DataDir = None,
    allow_overlap: Annotated[
        bool,
        typer.Option(
            envvar="EMO_PRUNE_ALLOW_OVERLAP",
            help="Score documents even if the experts were chosen on them.",
            rich_help_panel=options.TASK,
        ),
    ] = False,
    max_drop: Annotated[
        float | None,
        typer.Option(
            envvar="EMO_PRUNE_MAX_DROP",
            help="Exit with 3 if more points are lost against the baseline (or else "
            "the source).",
            rich_help_panel="Gates",
        ),
    ] = None,
    min_recovery: Annotated[
        str | None,
        typer.Option(
            envvar="EMO_PRUNE_MIN_RECOVERY",
            help="Exit with 3 if less of the baseline's figure (or else the source's) "
            "is left: 95%, 95 or 0.95.",
            rich_help_panel="Gates",
        ),
    ] = None,
    device: options.Device = None,
    dtype: options.Dtype = "auto",
    batch_size: Annotated[
        int,
        typer.Option(
            envvar="EMO_PRUNE_BATCH_SIZE",
            min=1,
            help="Prompts at a time.",
            rich_help_panel=options.RUNTIME,
        ),
    ] = 8,
    output: options.Output = None,
    json: options.Json = False,
) -> None:
    """Score a checkpoint on a task through lm-eval, and say what pruning cost.

    Of an export, the task, answer style and demonstrations are those it was selected
    with, unless options say otherwise. Writes results.json beside the export.

        emo-prune eval

        emo-prune eval ./small --task math --baseline ./model --max-drop 1.0
    """
    from emo_prune.api.evaluating import EvaluateRequest, evaluate_task
    from emo_prune.evaluation import check_gates
    from emo_prune.provenance import write_atomically
    from emo_prune.tasks import TaskOptions

    least = None if min_recovery is None else _per_cent(min_recovery)
    gated = max_drop is not None or least is not None
    outcomes: list[tuple[Results, Comparison | None]] = []
    for checkpoint in _checkpoints(path or export, model):
        request = EvaluateRequest(
            model=checkpoint,
            task=_task(checkpoint, task, examples),
            options=TaskOptions(
                data_dir=data_dir,
                **_as_selected(checkpoint, task, examples)
                | _given(num_fewshot=num_fewshot, answer=answer, protocol=protocol),
            ),
            baseline=baseline or ("source" if gated else None),
            limit=limit,
            allow_overlap=allow_overlap,
            device=device,
            dtype=dtype,
            batch_size=batch_size,
        )
        results, comparison = evaluate_task(request, console.ConsoleWatcher())
        file = places.results_file(output, Path(checkpoint))
        write_atomically(file, results.to_json(comparison))
        console.note(f"wrote {file}")
        outcomes.append((results, comparison))
        if not json:
            from emo_prune.report.results import results_table

            console.table(results_table(results, comparison))
    if json:
        console.document(_document(outcomes))
    for _, comparison in outcomes:
        if comparison is not None:
            check_gates(comparison, max_drop=max_drop, min_recovery=least)


def _checkpoints(path: Path | None, model: str | None) -> list[str]:
    """Return what is to be scored: one checkpoint, or every export."""
    from emo_prune.export import RECORD

    if path is not None and model is not None:
        raise SettingsError(
            "there are two checkpoints to score",
            got=f"{path} and --model {model}",
            expected="one of them",
            hint="to compare the two, make one the --baseline",
        )
    if path is not None or model is not None:
        return [str(path or model)]
    found = places.exports(RECORD)
    if not found:
        raise EvaluationError(
            "there is no export to score",
            where=places.ROOT,
            expected=f"{places.ROOT}/<task>/{places.CHECKPOINT}",
            hint="run `emo-prune export` first, or give a checkpoint folder",
        )
    return [str(folder) for folder in found]


def _task(checkpoint: str, task: str | None, examples: Path | None) -> Task:
    """Return the task that was asked for, else the one an export was selected for."""
    from emo_prune.api.evaluating import record_of
    from emo_prune.tasks import parse_task

    record = record_of(checkpoint)
    if task is None and examples is None and record is not None:
        selected = str(record.selection.calibration["task"])
        if not selected.startswith("examples:"):
            return parse_task(selected)
        raise SettingsError(
            "the export was selected on a file of examples",
            where=checkpoint,
            got=selected,
            expected="examples to score, other than those",
            hint="add --examples FILE, or --task NAME",
        )
    return parse_task(task, examples)


def _as_selected(
    checkpoint: str, task: str | None, examples: Path | None
) -> dict[str, Any]:
    """Return how an export's own prompts were made: its evaluation makes the same."""
    from emo_prune.api.evaluating import record_of

    record = record_of(checkpoint)
    if record is None or examples is not None:
        return {}
    calibration = record.selection.calibration
    same = _given(
        answer=calibration.get("answer"), protocol=calibration.get("protocol")
    )
    if _task(checkpoint, task, examples).name == calibration["task"]:
        same |= _given(num_fewshot=calibration.get("num_fewshot"))
    return same


def _per_cent(text: str) -> float:
    """Read 95%, 95 or 0.95 as 95 per cent; nobody asks for one per cent or less."""
    try:
        number = float(text.strip().removesuffix("%"))
    except ValueError:
        number = math.nan
    if not text.strip().endswith("%") and 0 < number <= 1:
        number *= 100
    if not number > 0 or math.isinf(number):
        raise SettingsError(
            "this is not a share of the baseline",
            where="--min-recovery",
            got=repr(text),
            expected="95%, 95 or 0.95",
            hint="try --min-recovery 95%",
        )
    return number


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _document(outcomes: list[tuple[Results, Comparison | None]]) -> str:
    """Return one document: the results, or a list of them if there are several."""
    from emo_prune.provenance import readable_json

    documents = [results.to_dict(comparison) for results, comparison in outcomes]
    return readable_json(documents[0] if len(documents) == 1 else documents)
