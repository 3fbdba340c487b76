"""`emo-prune extract`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emo_prune import places
from emo_prune.cli import console, options, precedence
from emo_prune.errors import SettingsError

if TYPE_CHECKING:
    from emo_prune.exports.extract import Extracted, Extraction
    from emo_prune.tasks import Task


def extract(
    context: typer.Context,
    model: options.Model = None,
    revision: options.Revision = None,
    remote: options.Remote = False,
    cache: options.Cache = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            "-t",
            envvar="EMO_PRUNE_TASK",
            help="As of select; several tasks give a checkpoint each, in one pass "
            "(in the variable with blanks between them).",
            rich_help_panel=options.TASK,
        ),
    ] = None,
    examples: Annotated[
        list[Path] | None,
        typer.Option(
            envvar="EMO_PRUNE_EXAMPLES",
            help="Your own examples instead, as of select; several files give a "
            "checkpoint each.",
            rich_help_panel=options.TASK,
        ),
    ] = None,
    num_examples: options.NumExamples = "100",
    num_fewshot: options.NumFewshot = None,
    answer: options.Answer = None,
    protocol: options.Protocol = None,
    data_dir: options.DataDir = None,
    seed: options.Seed = None,
    keep: options.Keep = "12.5%",
    score: options.Score = "frequency",
    lower_top_k: options.LowerTopK = False,
    device: options.Device = None,
    dtype: options.Dtype = "auto",
    batch_size: options.BatchSize = None,
    max_memory: options.MaxMemory = None,
    resume: options.Resume = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The checkpoint's folder, selection.json beside it; of several tasks, "
            "the folder that gets one of each. (default: emo-prune-out/<task>/)",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    max_shard_size: options.MaxShardSize = "5GB",
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Select and export in one pass, layer by layer: the model is never loaded whole.

    The outcome is that of select --greedy and export, byte for byte. Of the experts,
    only those that stay are read (with the scores easy-ep and reap, all that tokens
    go to). An interrupted run goes on with --resume.

        emo-prune extract --model allenai/Emo_1b14b_1T --remote --task math

        emo-prune extract --model ./model --task math --task law --keep 25%
    """
    from emo_prune.exports.extract import ExtractRequest, extract_experts
    from emo_prune.selection import NEED_OUTPUTS, parse_keep
    from emo_prune.units import parse_bytes

    options.refuse_cache_alone(cache, remote=remote)
    options.refuse_both(resume=resume, force=force)
    tasks = _tasks(*precedence.one_of(context, task=task, examples=examples))
    extractions = _extractions(tasks, output)
    if score in NEED_OUTPUTS:
        console.note(f"{score} needs outputs: all experts that tokens go to are read")
    request = ExtractRequest(
        model=places.needed_model(model),
        revision=revision,
        remote=remote,
        cache=cache,
        extractions=extractions,
        options=options.calibration(num_fewshot, answer, protocol, data_dir, seed),
        num_examples=options.number_of_examples(num_examples),
        keep=parse_keep(keep),
        score=score,
        lower_top_k=lower_top_k,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
        max_memory=options.memory(max_memory),
        max_shard_bytes=parse_bytes(max_shard_size, "--max-shard-size"),
        resume=resume,
        force=force,
    )
    _print(extract_experts(request, console.progress()), json=json)


def _tasks(names: list[str] | None, files: list[Path] | None) -> list[Task]:
    """Return the tasks that were asked for, each once."""
    from emo_prune.tasks import parse_task

    if not names and not files:
        return [parse_task(None)]  # which says what to give
    tasks = [parse_task(name) for name in names or ()]
    tasks += [parse_task(None, file) for file in files or ()]
    slugs = [task.slug for task in tasks]
    twice = next((slug for slug in slugs if slugs.count(slug) > 1), None)
    if twice is not None:
        raise SettingsError(
            "two tasks would be written to the same place",
            where="--task, --examples",
            got=f"{twice} twice",
            expected="tasks, or names of files, that differ",
            hint="leave one out, or rename a file",
        )
    return tasks


def _extractions(tasks: list[Task], output: Path | None) -> list[Extraction]:
    from emo_prune.exports.extract import Extraction

    if output is not None and output.resolve().name in ("", places.SELECTION):
        raise SettingsError(
            "a checkpoint cannot have this name",
            where="--output",
            got=str(output),
            expected="a folder that is not there yet",
            hint="give the checkpoint's folder; selection.json goes beside it",
        )
    if output is not None and len(tasks) == 1:
        return [Extraction(task=tasks[0], checkpoint=output)]
    return [
        Extraction(
            task=task,
            checkpoint=(output or places.ROOT) / task.slug / places.CHECKPOINT,
            selection=(output or places.ROOT) / task.slug / places.SELECTION,
        )
        for task in tasks
    ]


def _print(extracted: Extracted, *, json: bool) -> None:
    from emo_prune.units import format_bytes

    if json:
        from emo_prune.files import readable_json

        console.document(readable_json(_document(extracted)))
        return
    from emo_prune.reports.terminal import selection_table

    for subset in extracted.subsets:
        console.table(selection_table(subset.selection))
        size = format_bytes(subset.bytes_written)
        console.result(f"wrote {subset.extraction.checkpoint}: {size}")
        console.note(f"wrote {subset.selection_file}")
    console.note(f"read {format_bytes(extracted.bytes_read)} of the source")


def _document(extracted: Extracted) -> dict[str, Any]:
    outputs = [
        {
            "task": subset.selection.calibration.task,
            "checkpoint": str(subset.extraction.checkpoint),
            "selection": str(subset.selection_file),
            "num_experts": subset.selection.budget.num_experts,
            "bytes_written": subset.bytes_written,
        }
        for subset in extracted.subsets
    ]
    return {
        "schema": "emo-prune/extract/1",
        "bytes_read": extracted.bytes_read,
        "bytes_written": sum(subset.bytes_written for subset in extracted.subsets),
        "outputs": outputs,
    }
