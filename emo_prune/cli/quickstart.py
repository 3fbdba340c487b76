"""`emo-prune quickstart`."""

from __future__ import annotations

import contextlib
import shlex
import sys
from pathlib import Path

from emo_prune.cli import console
from emo_prune.cli.command import command as command_of
from emo_prune.files import readable_json
from emo_prune.options import QuickstartOptions


def _quickstart(options: QuickstartOptions, as_json: bool) -> None:
    """Try all of it, offline, on a small EMO model that comes with the package.

    It was pretrained on ten small made-up worlds. For two of them: chooses experts,
    exports, verifies, and scores the full model, the world's own experts, the other
    world's, and random ones.
    """
    from emo_prune.quickstart import quickstart as steps

    files = steps.make_quickstart(Path(options.output))
    with contextlib.redirect_stdout(sys.stderr if as_json else sys.stdout):
        for world in steps.WORLDS:
            _show(files.commands(world))
    with contextlib.redirect_stdout(sys.stderr):
        _show(files.commands(steps.RANDOM))
    found = steps.measure_quickstart(files, options.progress)
    if as_json:
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


command = command_of(QuickstartOptions, _quickstart)
