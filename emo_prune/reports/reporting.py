"""`report`: one HTML page, and its pictures, of what the other verbs wrote."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emo_prune import places
from emo_prune.errors import Parameter, SettingsError
from emo_prune.files import write_atomically
from emo_prune.options import ReportOptions, verb
from emo_prune.reports.page import (
    Section,
    find_artifacts,
    is_page,
    is_picture,
    page,
    picture_files,
    sections,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was written: the page, and pictures if they were asked for.

    artifacts: the names of what is shown. sentences: what each section comes to.
    """

    path: Path
    pictures: tuple[Path, ...]
    artifacts: tuple[str, ...]
    sentences: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Report({str(self.path)!r}, {len(self.sentences)} sections)"


@verb(ReportOptions)
def report(options: ReportOptions) -> Report:
    """Write one HTML page of a selection, results, a sweep, a checkpoint, or a folder.

    It loads nothing from anywhere. A page or a picture that this wrote is replaced,
    any other file only with `force`; nothing is written unless everything can be.

    Raises:
        EmoPruneError: there is nothing to show, or it is not what its schema says.
        OutputExists: a file is there that may not be replaced.
        SettingsError: the place is not one for a page, or within a checkpoint.
    """
    path = Path(options.path)
    file = _page_file(None if options.output is None else Path(options.output), path)
    found = find_artifacts(
        path, _optional(options.samples), _optional(options.questions)
    )
    shown = sections(found)
    text = page(found, shown)
    places.refuse_existing(file, force=options.force or is_page(file))
    pictures = _pictures(shown, options)
    write_atomically(file, text)
    for place, data in pictures.items():
        write_atomically(place, data)
    return Report(
        path=file,
        pictures=tuple(pictures),
        artifacts=tuple(one.name for one in found.artifacts),
        sentences=tuple(section.result for section in shown),
    )


def _optional(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def _page_file(output: Path | None, path: Path) -> Path:
    """Return where the page goes: in a folder, else beside the file or checkpoint.

    Raises:
        SettingsError: the name is not one of a page, or is within a checkpoint, where
            `verify` would find a file too many.
    """
    whole = places.is_checkpoint(path)
    if output is not None:
        file = output
    elif path.is_dir() and not whole:
        file = path / places.REPORT
    else:
        name = path.resolve().name if whole else path.stem
        file = Path(os.path.normpath(path / ".." / f"{name}.html"))
    inside = places.is_checkpoint(file.parent)
    if file.suffix.lower() not in (".html", ".htm") or inside:
        raise SettingsError(
            "the page would be written into a checkpoint"
            if inside
            else "the page needs the name of an HTML file",
            where=Parameter("output"),
            got=file,
            expected="a name that ends in .html, outside of checkpoints",
            hint=("try ", Parameter("output", "report.html")),
        )
    return file


def _pictures(
    shown: Sequence[Section], options: ReportOptions
) -> Mapping[Path, str | bytes]:
    """Return the pictures' files, which may all be written.

    Raises:
        SettingsError: the folder is a checkpoint.
        OutputExists: a file is there that is no picture of a report.
        ReportError: PNG needs matplotlib.
    """
    if options.pictures is None:
        return {}
    folder = Path(options.pictures)
    if places.is_checkpoint(folder):
        raise SettingsError(
            "the pictures would be written into a checkpoint",
            where=folder,
            expected="a folder of their own",
            hint=("try ", Parameter("pictures", "pictures")),
        )
    named = picture_files(shown, png=options.png)
    files = {folder / name: data for name, data in named.items()}
    for file in files:
        places.refuse_existing(file, force=options.force or is_picture(file))
    return files
