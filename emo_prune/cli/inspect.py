"""`emo-prune inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from emo_prune import places
from emo_prune.cli import console, options


def inspect(
    model: Annotated[
        str | None,
        typer.Argument(
            envvar="EMO_PRUNE_MODEL",
            help="Checkpoint: a local folder or a Hub id (headers only are fetched).",
        ),
    ] = None,
    revision: options.Revision = None,
    remote: options.Remote = False,
    cache: options.Cache = None,
    json: options.Json = False,
) -> None:
    """Say what a checkpoint is, and what 50, 25 and 12.5 % of its experts would weigh.

    Reads config and headers alone.

        emo-prune inspect allenai/Emo_1b14b_1T

        emo-prune inspect ./model --json
    """
    from emo_prune.architectures import inspect_model
    from emo_prune.architectures.opening import open_model

    options.refuse_cache_alone(cache, remote=remote)
    opened = open_model(
        places.needed_model(model, "MODEL"), revision, remote=remote, cache=cache
    )
    inspection = inspect_model(opened)
    if json:
        from emo_prune.files import readable_json

        console.document(readable_json(inspection.to_json()))
        return
    from emo_prune.reports.inspection import inspection_table

    console.table(inspection_table(inspection))
