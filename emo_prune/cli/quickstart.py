"""`emo-prune quickstart`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from emo_prune.cli import console, options


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
    from emo_prune.cli.app import app

    console.result(f"making a small EMO checkpoint (random weights!) in {output}")
    model, calibration, questions = make_quickstart(output)
    chosen, small = output / "selection.json", output / "checkpoint"

    for command in (
        [
            "select",
            "--model",
            model,
            "--examples",
            calibration,
            "--keep",
            "25%",
            "-o",
            output,
        ],
        ["export", "--selection", chosen, "--model", model, "-o", small],
        ["verify", small, "--source", model],
        ["eval", small, "--examples", questions, "--baseline", model, "-o", output],
    ):
        arguments = [str(argument) for argument in command]
        console.result(f"\n$ emo-prune {shlex.join(arguments)}")
        app(arguments, standalone_mode=False)
    console.result(
        "\nThat was the whole road. The weights were random, so both models guess: "
        "chance is 25 %.\nNow take a real model: "
        "emo-prune select --model MODEL --task math"
    )
