"""`emo-prune verify`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from emo_prune.cli import console, options


def verify(
    folder: Annotated[Path, typer.Argument(help="The folder that export wrote.")],
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            help="The checkpoint it was made from. (default: where it was last seen)",
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    revision: options.Revision = None,
    json: options.Json = False,
) -> None:
    """Prove that an export is its source less the dropped experts, byte for byte.

    Exit code 3 if it is not.

        emo-prune verify emo-prune-out/math/checkpoint --source ./model
    """
    from emo_prune.exports.export_selection import verify_folder

    report = verify_folder(
        folder, source=source, revision=revision, progress=console.ConsoleProgress()
    )
    if json:
        from emo_prune.files import readable_json

        document = {"schema": "emo-prune/verification/1", "equal": True}
        console.document(readable_json({**document, **asdict(report)}))
        return
    console.result(
        f"{folder}: {report.num_tensors} tensors, {report.num_bytes:,} bytes and "
        f"{report.num_files} files equal those of the source"
    )
