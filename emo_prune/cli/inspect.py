"""`emo-prune inspect`."""

from __future__ import annotations

from emo_prune.cli import console
from emo_prune.cli.command import command as command_of
from emo_prune.files import readable_json
from emo_prune.options import InspectOptions


def _inspect(options: InspectOptions, as_json: bool) -> None:
    """Say what a checkpoint is, and what 50, 25 and 12.5 % of its experts would weigh.

    Reads config and headers alone.

        emo-prune inspect allenai/Emo_1b14b_1T

        emo-prune inspect ./model --json
    """
    from emo_prune.architectures import inspect

    inspection = inspect.on(options)
    if as_json:
        console.document(readable_json(inspection.to_dict()))
        return
    from emo_prune.reports.terminal import inspection_table

    console.table(inspection_table(inspection))


command = command_of(InspectOptions, _inspect)
