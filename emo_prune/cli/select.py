"""`emo-prune select`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emo_prune.cli import console, options, places, precedence
from emo_prune.errors import SettingsError

if TYPE_CHECKING:
    from emo_prune.selection import Selection


def select(
    context: typer.Context,
    model: options.Model = None,
    revision: options.Revision = None,
    task: options.TaskName = None,
    examples: options.Examples = None,
    num_examples: Annotated[
        str,
        typer.Option(
            envvar="EMO_PRUNE_NUM_EXAMPLES",
            help="Examples to calibrate on, or all.",
            rich_help_panel=options.TASK,
        ),
    ] = "100",
    num_fewshot: options.NumFewshot = None,
    answer: options.Answer = None,
    protocol: options.Protocol = None,
    data_dir: options.DataDir = None,
    seed: Annotated[
        int | None,
        typer.Option(
            envvar="EMO_PRUNE_SEED",
            min=0,
            help="Chooses the examples (and the experts, with --score random). "
            "(default: 0)",
            rich_help_panel=options.TASK,
        ),
    ] = None,
    keep: Annotated[
        str,
        typer.Option(
            "--keep",
            "-k",
            envvar="EMO_PRUNE_KEEP",
            help="Experts to keep in each layer, shared ones included: 12.5%, 0.125 "
            "or 16.",
            rich_help_panel=options.SELECTION,
        ),
    ] = "12.5%",
    score: Annotated[
        str,
        typer.Option(
            envvar="EMO_PRUNE_SCORE",
            help="frequency, probability, easy-ep, reap or random.",
            rich_help_panel=options.SELECTION,
        ),
    ] = "frequency",
    greedy: Annotated[
        bool,
        typer.Option(
            envvar="EMO_PRUNE_GREEDY",
            help="Choose layer by layer, earlier layers already pruned.",
            rich_help_panel=options.SELECTION,
        ),
    ] = False,
    lower_top_k: Annotated[
        bool,
        typer.Option(
            envvar="EMO_PRUNE_LOWER_TOP_K",
            help="Allow fewer experts than the router picks; it then picks fewer.",
            rich_help_panel=options.SELECTION,
        ),
    ] = False,
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
    batch_size: Annotated[
        int | None,
        typer.Option(
            envvar="EMO_PRUNE_SELECT_BATCH_SIZE",
            min=1,
            help="Examples at a time. (default: 8192 tokens' worth)",
            rich_help_panel=options.RUNTIME,
        ),
    ] = None,
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
    from emo_prune.tasks import TaskOptions, parse_task

    budget = parse_keep(keep)
    if scores is not None:
        if output is None:
            output = scores.parent
        destination = places.selection_file(output, "")
        places.refuse_existing(destination, force=force)
        _refuse_beside_scores(context)
        from emo_prune.api.selecting import select_from_scores

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
    from emo_prune.api.selecting import SelectRequest, select_experts
    from emo_prune.selection import write_scores

    request = SelectRequest(
        model=places.needed_model(model),
        revision=revision,
        task=wanted,
        options=TaskOptions(
            num_fewshot=num_fewshot,
            answer=answer or "letter",
            protocol=protocol or "standard",
            data_dir=data_dir,
            seed=seed or 0,
        ),
        num_examples=_number(num_examples),
        keep=budget,
        score=score,
        greedy=greedy,
        lower_top_k=lower_top_k,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
    )
    chosen, counted = select_experts(request, console.ConsoleWatcher())
    if save_scores:
        write_scores(places.scores_file(destination), counted)
        console.note(f"wrote {places.scores_file(destination)}")
    _finish(chosen, destination, json=json)


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
    from emo_prune.provenance import write_atomically

    write_atomically(destination, chosen.to_text())
    if json:
        console.document(chosen.to_text())
    else:
        from emo_prune.report.selection import selection_table

        console.table(selection_table(chosen))
    console.note(f"wrote {destination}")


def _number(text: str) -> int | None:
    if text.strip().lower() == "all":
        return None
    if text.strip().isdecimal() and int(text) > 0:
        return int(text)
    raise SettingsError(
        "this is not a number of examples",
        where="--num-examples",
        got=repr(text),
        expected="a number above zero, or all",
        hint="try --num-examples 100",
    )
