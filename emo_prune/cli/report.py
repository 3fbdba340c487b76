"""`emo-prune report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emo_prune import places
from emo_prune.cli import console, options
from emo_prune.errors import SettingsError

if TYPE_CHECKING:
    from emo_prune.reports.page import Found


def report(
    path: Annotated[
        Path,
        typer.Argument(
            help="A selection, results, a sweep, a checkpoint with emo_prune.json or "
            "carving.json, or a folder that holds several of them.",
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
    samples: Annotated[
        Path | None,
        typer.Option(
            help="Flipped questions, as `eval --samples` wrote them. (default: those "
            "that lie beside the results)",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option(
            help="The file of --examples that was scored: what flipped is shown in "
            "its words.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="Write each picture into this folder, too, as SVG.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    png: Annotated[
        bool,
        typer.Option(
            "--png",
            help="With --pictures: as PNG besides. Needs matplotlib, which the extra "
            "`plots` installs.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Replace files that are no reports and no pictures of one.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
) -> None:
    """Make one HTML page of what the other commands wrote.

    It opens from disk and loads nothing: what was kept in each layer, accuracy by
    category, what was lost against the baseline and by size, which questions flipped,
    and where everything came from.

        emo-prune report emo-prune-out/math

        emo-prune report results.json -o results.html

        emo-prune report sweep.json --pictures figures --png
    """
    from emo_prune.files import write_atomically
    from emo_prune.reports.page import find_artifacts, is_page, page

    file = places.report_file(output, path)
    found = find_artifacts(path, samples, questions)
    text = page(found)
    places.refuse_existing(file, force=force or is_page(file))
    drawn = _pictures(found, pictures, png=png, force=force)
    write_atomically(file, text)
    console.result(f"wrote {file}: {', '.join(one.name for one in found.artifacts)}")
    for picture, data in drawn.items():
        write_atomically(picture, data)
    if drawn:
        console.result(f"wrote {len(drawn)} pictures into {pictures}")


def _pictures(
    found: Found, folder: Path | None, *, png: bool, force: bool
) -> dict[Path, str | bytes]:
    """Return the pictures' files, which may all be written.

    Raises:
        SettingsError: PNG is asked for, but no pictures; or the folder is a checkpoint.
        OutputExists: a file is there that is no picture of a report.
        ReportError: PNG needs matplotlib.
    """
    from emo_prune.reports.page import is_picture, picture_files

    if folder is None:
        if png:
            raise SettingsError(
                "there is no place for pictures",
                where="--png",
                expected="--pictures DIR beside it",
                hint="add --pictures pictures",
            )
        return {}
    places.refuse_checkpoint(folder)
    named = picture_files(found, png=png)
    files = {folder / name: data for name, data in named.items()}
    for file in files:
        places.refuse_existing(file, force=force or is_picture(file))
    return files
