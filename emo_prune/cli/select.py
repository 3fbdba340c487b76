"""`emo-prune select`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emo_prune import places
from emo_prune.cli import console, options, precedence
from emo_prune.errors import SettingsError

if TYPE_CHECKING:
    from emo_prune.selection import ScoresFile, Selection


def select(
    context: typer.Context,
    model: options.Model = None,
    revision: options.Revision = None,
    task: options.TaskName = None,
    examples: options.Examples = None,
    num_examples: options.NumExamples = "100",
    num_fewshot: options.NumFewshot = None,
    answer: options.Answer = None,
    protocol: options.Protocol = None,
    data_dir: options.DataDir = None,
    seed: options.Seed = None,
    keep: options.Keep = "12.5%",
    score: options.Score = "frequency",
    greedy: Annotated[
        bool,
        typer.Option(
            envvar="EMO_PRUNE_GREEDY",
            help="Choose layer by layer, earlier layers already pruned.",
            rich_help_panel=options.SELECTION,
        ),
    ] = False,
    lower_top_k: options.LowerTopK = False,
    save_scores: Annotated[
        bool,
        typer.Option(
            envvar="EMO_PRUNE_SAVE_SCORES",
            help="Also write scores.safetensors, to select again without the model.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    scores: Annotated[
        Path | None,
        typer.Option(
            help="Select from a scores file; no model is run.",
            rich_help_panel=options.SELECTION,
        ),
    ] = None,
    device: options.Device = None,
    dtype: options.Dtype = "auto",
    batch_size: options.BatchSize = None,
    stream: Annotated[
        bool | None,
        typer.Option(
            "--stream/--no-stream",
            envvar="EMO_PRUNE_STREAM",
            help="Read and run the model layer by layer, or load it whole. (default: "
            "layer by layer if it would not fit into free memory)",
            rich_help_panel=options.RUNTIME,
        ),
    ] = None,
    max_memory: options.MaxMemory = None,
    resume: options.Resume = False,
    output: options.Output = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Run a task's examples through a model and choose the experts it needs.

    Writes selection.json to emo-prune-out/<task>/, where export finds it.

        emo-prune select --model allenai/Emo_1b14b_1T --task math --keep 25%

        emo-prune select --model ./model --examples tickets.jsonl --score probability

        emo-prune select --scores emo-prune-out/math/scores.safetensors --keep 16 -o s16
    """
    from emo_prune.selection import parse_keep
    from emo_prune.tasks import parse_task

    options.refuse_both(resume=resume, force=force)
    budget = parse_keep(keep)
    if scores is not None:
        if output is None:
            output = scores.parent
        destination = places.selection_file(output, "")
        places.refuse_existing(destination, force=force)
        _refuse_beside_scores(context)
        from emo_prune.selection.select import select_from_scores

        chosen = select_from_scores(
            scores, budget, score=score, lower_top_k=lower_top_k, seed=seed
        )
        _finish(chosen, destination, json=json)
        return
    wanted = parse_task(*precedence.one_of(context, task=task, examples=examples))
    destination = places.selection_file(output, wanted.slug)
    places.refuse_existing(destination, force=force)
    if save_scores:
        places.refuse_existing(places.scores_file(destination), force=force)
    if greedy and save_scores:
        raise SettingsError(
            "scores of a greedy pass hold for its own budget alone",
            where="--save-scores",
            got="--greedy as well",
            hint="leave out one of the two",
        )
    from emo_prune.selection import write_scores
    from emo_prune.selection.select import SelectRequest, select_experts

    request = SelectRequest(
        model=places.needed_model(model),
        revision=revision,
        task=wanted,
        options=options.calibration(num_fewshot, answer, protocol, data_dir, seed),
        num_examples=options.number_of_examples(num_examples),
        keep=budget,
        score=score,
        greedy=greedy,
        lower_top_k=lower_top_k,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
        stream=stream,
        max_memory=options.memory(max_memory),
        resume=resume,
        force=force,
        state=places.state_of(destination),
    )

    def write(chosen: Selection, counted: ScoresFile) -> None:
        if console.is_silent():  # another process writes what all have counted
            return
        if save_scores:
            write_scores(places.scores_file(destination), counted)
            console.note(f"wrote {places.scores_file(destination)}")
        _finish(chosen, destination, json=json)

    select_experts(request, console.watcher(), write=write)


def _refuse_beside_scores(context: typer.Context) -> None:
    """Raise `SettingsError` for a typed option that a scores file has settled."""
    settled = ("model", "task", "examples", "num_examples", "greedy", "save_scores")
    for name in settled:
        if precedence.typed(context, name):
            raise SettingsError(
                "what was counted is settled by the scores file",
                where=f"--{name.replace('_', '-')}",
                got="--scores as well",
                hint="leave out one of the two",
            )


def _finish(chosen: Selection, destination: Path, *, json: bool) -> None:
    from emo_prune.files import write_atomically

    write_atomically(destination, chosen.to_text())
    if json:
        console.document(chosen.to_text())
    else:
        from emo_prune.reports.selection import selection_table

        console.table(selection_table(chosen))
    console.note(f"wrote {destination}")
