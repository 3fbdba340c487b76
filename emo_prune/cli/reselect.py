"""`emo-prune reselect`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from emo_prune import places
from emo_prune.cli.command import command as command_of
from emo_prune.cli.select import print_selection
from emo_prune.options import ReselectOptions


def _reselect(options: ReselectOptions, as_json: bool) -> None:
    """Select again from a scores file, by another budget or score; runs no model.

    emo-prune reselect emo-prune-out/math/scores.safetensors --keep 16 -o s16
    """
    from emo_prune.selection import reselect

    output = Path(options.output or Path(options.scores).parent)
    selection = reselect.on(replace(options, output=output))
    print_selection(selection, places.selection_file(output), as_json)


command = command_of(ReselectOptions, _reselect)
