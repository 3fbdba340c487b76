"""`emo-prune select`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from emo_prune import places
from emo_prune.cli import console
from emo_prune.cli.command import command as command_of
from emo_prune.options import SelectOptions

if TYPE_CHECKING:
    from emo_prune.selection import Selection


def _select(options: SelectOptions, as_json: bool) -> None:
    """Run a task's examples through a model and choose the experts it needs.

    Writes selection.json to emo-prune-out/<task>/, where export finds it.

        emo-prune select --model allenai/Emo_1b14b_1T --task math --keep 25%

        emo-prune select --model ./model --examples tickets.jsonl --score probability
    """
    from emo_prune.selection import select
    from emo_prune.tasks import parse_task

    output = options.output
    if output is None:
        slug = parse_task(options.task, options.examples).slug
        output = places.ROOT / slug
    selection = select.on(replace(options, output=output))
    if not console.is_silent():  # another process has written what all have counted
        file = places.selection_file(Path(output))
        if options.save_scores:
            console.note(f"wrote {places.scores_file(file)}")
        print_selection(selection, file, as_json)


def print_selection(selection: Selection, file: Path, as_json: bool) -> None:
    """Print a selection that was written to a file."""
    if as_json:
        console.document(selection.to_text())
    else:
        from emo_prune.reports.terminal import selection_table

        console.table(selection_table(selection))
    console.note(f"wrote {file}")


command = command_of(SelectOptions, _select)
