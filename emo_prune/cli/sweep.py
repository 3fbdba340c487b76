"""`emo-prune sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emo_prune import places
from emo_prune.cli import console, options
from emo_prune.errors import SettingsError


def sweep(
    model: options.Model = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            "--tasks",
            "-t",
            help="Tasks as `select --task` takes them, divided by commas; mmlu and "
            "mmlu-pro stand for each of their categories.",
            rich_help_panel=options.TASK,
        ),
    ] = None,
    examples: Annotated[
        list[Path] | None,
        typer.Option(
            help="A task of your own: a file to calibrate on, with --test. May be "
            "given several times.",
            rich_help_panel=options.TASK,
        ),
    ] = None,
    test: Annotated[
        list[Path] | None,
        typer.Option(
            help="The file to score for the --examples in the same place; it names the "
            "task.",
            rich_help_panel=options.TASK,
        ),
    ] = None,
    keep: Annotated[
        str,
        typer.Option(
            "--keep",
            "-k",
            help="Budgets, divided by commas: shares or numbers of experts.",
            rich_help_panel=options.SELECTION,
        ),
    ] = "50%,25%,12.5%",
    scores: Annotated[
        str,
        typer.Option(
            help="Scores, divided by commas: frequency, probability, easy-ep, reap, "
            "random.",
            rich_help_panel=options.SELECTION,
        ),
    ] = "frequency",
    calibration: Annotated[
        str,
        typer.Option(
            help="Numbers of examples to calibrate on, divided by commas; all is one.",
            rich_help_panel=options.TASK,
        ),
    ] = "100",
    also: Annotated[
        list[str] | None,
        typer.Option(
            help="Score this model (folder or Hub id) too, whole: one trained at a "
            "budget's size, say. May be given several times.",
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    compare_paper: Annotated[
        str | None,
        typer.Option(
            metavar="FILE:NAME",
            help="Print published figures beside this model's: those of model NAME in "
            "FILE; benchmarks/published/emo.json has those of EMO's authors.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    num_fewshot: options.NumFewshot = None,
    answer: options.Answer = None,
    protocol: options.Protocol = None,
    limit: options.Limit = None,
    data_dir: options.DataDir = None,
    seed: options.Seed = None,
    allow_overlap: options.AllowOverlap = False,
    lower_top_k: options.LowerTopK = False,
    device: options.Device = None,
    dtype: options.Dtype = "auto",
    batch_size: options.PromptsAtATime = None,
    share: options.Share = True,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Fan the cells out over Ray (extra `ray`): HOST:PORT of a cluster, "
            "auto for the one of this machine, or local to start one.",
            rich_help_panel=options.RUNTIME,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Where sweep.json goes: a folder, or the very file. (default: "
            "emo-prune-out/)",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Forget the finished cells of an earlier sweep.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    json: options.Json = False,
) -> None:
    """Score a model with all its experts and with subsets: tasks, budgets and scores.

    The model is loaded once; for each subset its routers are masked, and nothing is
    exported. Writes sweep.json. Finished cells are kept beside it, in
    sweep.json.state/: after Ctrl-C or a crash the same command goes on.

        emo-prune sweep --model ./model --tasks mmlu --scores frequency,random

        emo-prune sweep --model ./model --examples a.jsonl --test b.jsonl --keep 25%

        emo-prune sweep --model ./model --tasks math,law --calibration 1,10,100,all

        emo-prune sweep --model ./model --tasks mmlu --compare-paper emo.json:emo-1t

        emo-prune sweep --model ./model --tasks mmlu --ray head-node:6379
    """
    from emo_prune.files import write_atomically
    from emo_prune.selection import parse_keep
    from emo_prune.sweeps.sweep import SweepRequest
    from emo_prune.sweeps.sweep import sweep as swept
    from emo_prune.sweeps.tasks import sweep_tasks

    columns = sweep_tasks(tasks, examples or (), test or ())
    published = None
    if compare_paper is not None:
        from emo_prune.reports.published import published_model

        published = published_model(compare_paper, [column.name for column in columns])
    request = SweepRequest(
        model=places.needed_model(model),
        tasks=columns,
        keeps=tuple(parse_keep(one) for one in _several(keep, "--keep")),
        scores=_several(scores, "--scores"),
        sizes=tuple(
            options.number_of_examples(one, "--calibration")
            for one in _several(calibration, "--calibration")
        ),
        also=tuple(also or ()),
        options=options.calibration(num_fewshot, answer, protocol, data_dir, seed),
        limit=limit,
        lower_top_k=lower_top_k,
        allow_overlap=allow_overlap,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
        share_prefixes=share,
        ray=ray,
        force=force,
    )
    destination = places.sweep_file(output)
    places.refuse_inside(destination, Path(request.model))
    found = swept(request, places.sweep_state(destination), console.ConsoleProgress())
    text = found.to_json()
    write_atomically(destination, text)
    if json:
        console.document(text)
    else:
        from emo_prune.reports.sweep import sweep_tables

        console.table(sweep_tables(found))
        if published is not None:
            from emo_prune.reports.published import published_tables

            console.table(published_tables(found, *published))
    console.note(f"wrote {destination}")


def _several(text: str, option: str) -> tuple[str, ...]:
    """Read a list divided by commas.

    Raises:
        SettingsError: nothing is in it.
    """
    found = tuple(filter(None, (part.strip() for part in text.split(","))))
    if not found:
        raise SettingsError(
            "the list is empty",
            where=option,
            got=repr(text),
            expected="values divided by commas",
            hint=f"leave {option} out for its default",
        )
    return found
