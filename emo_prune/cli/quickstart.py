"""`emo-prune quickstart`."""

from __future__ import annotations

import contextlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emo_prune.cli import console, options

if TYPE_CHECKING:
    from emo_prune.quickstart.quickstart import QuickstartFiles


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
    json: options.Json = False,
) -> None:
    """Walk the whole road, offline, on a small EMO model that comes with the package.

    It was pretrained on ten small made-up worlds. For two of them: chooses experts,
    exports, verifies, and scores the full model, the world's own experts, the other
    world's, and random ones.
    """
    from emo_prune.quickstart.quickstart import (
        KEEP,
        WORLDS,
        make_quickstart,
        measure_quickstart,
    )

    files = make_quickstart(output)
    with contextlib.redirect_stdout(sys.stderr if json else sys.stdout):
        for world in WORLDS:
            _walk(files, files.subset(world), files.calibration(world), "frequency")
    with contextlib.redirect_stdout(sys.stderr):
        _walk(files, files.subset("random"), files.calibration(WORLDS[0]), "random")
    found = measure_quickstart(files, console.progress())
    if json:
        from emo_prune.files import readable_json

        console.document(readable_json({"worlds": found}))
        return
    from emo_prune.reports.quickstart import quickstart_table

    console.table(quickstart_table(found, KEEP))
    console.result("Now take a real model: emo-prune select --model MODEL --task math")


def _walk(files: QuickstartFiles, place: Path, examples: Path, score: str) -> None:
    """Run the commands that make a subset, and show them."""
    from emo_prune.cli.app import app
    from emo_prune.quickstart.quickstart import KEEP

    selection, checkpoint = place / "selection.json", place / "checkpoint"
    select = ["select", "--model", files.model, "--examples", examples]
    if score != "frequency":
        select += ["--score", score]
    for command in (
        [*select, "--keep", KEEP, "-o", place],
        ["export", "--selection", selection, "--model", files.model, "-o", checkpoint],
        ["verify", checkpoint, "--source", files.model],
    ):
        arguments = [str(argument) for argument in command]
        console.result(f"$ emo-prune {shlex.join(arguments)}")
        app(arguments, standalone_mode=False)
        console.result("")
