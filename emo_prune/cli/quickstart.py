"""`emo-prune quickstart`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emo_prune.cli import console, options
from emo_prune.cli.evaluate import evaluate
from emo_prune.cli.export import export
from emo_prune.cli.select import select
from emo_prune.cli.verify import verify


def quickstart(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="A folder that is not there yet.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = Path("emo-prune-quickstart"),
) -> None:
    """Walk the whole road, offline, on a small EMO model made on the spot.

    Its weights are random, so its scores mean nothing; its files and commands are the
    real ones.
    """
    from emo_prune.api.quickstart import make_quickstart

    console.result(f"making a small EMO checkpoint (random weights!) in {output}")
    model, calibration, questions = make_quickstart(output)
    chosen, small = output / "selection.json", output / "checkpoint"

    _command(f"select --model {model} --examples {calibration} --keep 25% -o {output}")
    select(model=str(model), examples=calibration, keep="25%", output=output)
    _command(f"export --selection {chosen} --model {model} -o {small}")
    export(selection=chosen, model=str(model), output=small)
    _command(f"verify {small} --source {model}")
    verify(small, source=str(model))
    _command(f"eval {small} --examples {questions} --baseline {model} -o {output}")
    evaluate(small, examples=questions, baseline=str(model), output=output)
    console.result(
        "\nThat was the whole road. The weights were random, so both models guess: "
        "chance is 25 %.\nNow take a real model: "
        "emo-prune select --model MODEL --task math"
    )


def _command(arguments: str) -> None:
    console.result(f"\n$ emo-prune {arguments}")
