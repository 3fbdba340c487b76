"""The pictures of a page as files of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from emo_prune.reports.page.artifacts import Found
from emo_prune.reports.page.kinds import sections
from emo_prune.reports.page.painted import painted, refuse_without_painter
from emo_prune.reports.page.standalone import standalone

_MARK = b"emo-prune "
_LONGEST = 100  # letters, of what a name says of the artifact
_START = 300  # bytes; both formats name their program in them


def picture_files(found: Found, *, png: bool = False) -> Mapping[str, str | bytes]:
    """Return each picture's files by name: SVG, and PNG too if that is asked for.

    A name is made of the artifact's and the picture's own: `sweep-frontier.svg`.

    Raises:
        EmoPruneError: an artifact breaks its schema, or PNG needs matplotlib.
    """
    if png:
        refuse_without_painter()
    files: dict[str, str | bytes] = {}
    for section in sections(found.artifacts):
        for picture in section.pictures:
            stem = _free(f"{_slug(section.source)}-{picture.name}", files)
            files[f"{stem}.svg"] = svg = standalone(picture)
            if png:
                files[f"{stem}.png"] = painted(svg)
    return files


def is_picture(file: Path) -> bool:
    """Tell whether a file is a picture that this made, and may so be made anew."""
    try:
        with file.open("rb") as data:
            return _MARK in data.read(_START)
    except OSError:
        return False


def _slug(source: str) -> str:
    """Return a name for files; folders, and what an export holds, are in it too."""
    path, _, part = source.partition(", ")
    whole = f"{PurePosixPath(path).with_suffix('')} {part}"
    return re.sub(r"[^A-Za-z0-9]+", "-", whole).strip("-").lower()[:_LONGEST]


def _free(stem: str, files: Mapping[str, object]) -> str:
    """Return a stem that no other picture has."""
    found, n = stem, 1
    while f"{found}.svg" in files:
        found, n = f"{stem}-{n + 1}", n + 1
    return found
