"""`emo-prune report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emo_prune.cli import console, options, places


def report(
    path: Annotated[
        Path,
        typer.Argument(
            help="A selection, results, a checkpoint with emo_prune.json, or a folder "
            "that holds several of them.",
        ),
    ] = places.ROOT,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The page. (default: report.html in a folder; beside a file or a "
            "checkpoint, by its name)",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Replace a file that is not a report.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
) -> None:
    """Make one HTML page of what the other commands wrote.

    It opens from disk and loads nothing: what was kept in each layer, accuracy by
    category, what was lost against the baseline, and where everything came from.

        emo-prune report emo-prune-out/math

        emo-prune report results.json -o results.html
    """
    from emo_prune.provenance import write_atomically
    from emo_prune.report.page import find_artifacts, is_page, page

    file = places.report_file(output, path)
    found = find_artifacts(path)
    text = page(found)
    places.refuse_existing(file, force=force or is_page(file))
    write_atomically(file, text)
    console.result(f"wrote {file}: {', '.join(one.name for one in found.artifacts)}")
