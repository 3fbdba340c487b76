"""`emo-prune quickstart`."""

from __future__ import annotations

import contextlib
import shlex
import sys
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
    json: options.Json = False,
) -> None:
    """Walk the whole road, offline, on a small EMO model that comes with the package.

    It was pretrained on ten small made-up worlds. For two of them: chooses experts,
    exports, verifies, and scores the full model, the world's own experts, the other
    world's, and random ones.
    """
    from emo_prune.quickstart import quickstart as steps

    files = steps.make_quickstart(output)
    with contextlib.redirect_stdout(sys.stderr if json else sys.stdout):
        for world in steps.WORLDS:
            _show(files.commands(world))
    with contextlib.redirect_stdout(sys.stderr):
        _show(files.commands(steps.RANDOM))
    found = steps.measure_quickstart(files, console.watcher())
    if json:
        from emo_prune.files import readable_json

        console.document(readable_json({"worlds": found}))
        return
    console.table(steps.quickstart_table(found))
    console.result("Now take a real model: emo-prune select --model MODEL --task math")


def _show(commands: list[list[str]]) -> None:
    """Run commands as typed, and show them."""
    from emo_prune.cli.app import app

    for arguments in commands:
        console.result(f"$ emo-prune {shlex.join(arguments)}")
        app(arguments, standalone_mode=False)
        console.result("")
