"""Where an output may go: nowhere near its source, and over nothing but its like."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from emo_prune import places
from emo_prune.checkpoint import ByteSource, FolderSource
from emo_prune.errors import ExportError, OutputExists, Parameter, Text
from emo_prune.exports.partial import (
    ELSEWHERE,
    partial_of,
    refuse_foreign,
    replaced_of,
)
from emo_prune.files import strict_json

_FORCE = Parameter("force", True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of output, known by its schema in a record inside the folder."""

    record: str
    schema: str

    def is_at(self, folder: Path) -> bool:
        """Tell whether a folder is of this kind, its record whole or damaged.

        A folder with an export's record is an export, whatever it was made of.
        """
        if self.record != places.RECORD and (folder / places.RECORD).exists():
            return False
        known = record_schema(folder, self.record) in (self.schema, None)
        return known and (folder / self.record).is_file()


PRETRAIN_SCHEMA = "emo-prune/pretrain/1"
EXPORT = Kind(record=places.RECORD, schema="emo-prune/export/1")
PRETRAINED = Kind(record=places.RECORD, schema=PRETRAIN_SCHEMA)


def record_schema(folder: Path, record: str = places.RECORD) -> str | None:
    """Return the schema that a folder's record names; None if it has none."""
    try:
        return str(strict_json((folder / record).read_bytes())["schema"])
    except (OSError, KeyError, TypeError, ValueError):
        return None


def resolved(destination: Path) -> Path:
    """Return where an output really goes: of a link, its target.

    Raises:
        ExportError: the link leads nowhere.
    """
    try:
        found = destination.resolve()
        if not found.is_symlink():  # of a loop, newer versions return a part
            return found
    except (OSError, RuntimeError):  # older ones raise the latter for a loop
        pass
    raise ExportError(
        "the output's place is a link that leads round in a circle",
        where=destination,
        hint=("remove the link, or ", *ELSEWHERE),
    )


def check_destination(
    source: ByteSource | None, destination: Path, *, force: bool, kind: Kind = EXPORT
) -> None:
    """Raise `OutputExists` or `ExportError` where `destination` must not be written.

    An empty folder is taken; `force` replaces a folder of the same `kind`.
    """
    target = resolved(destination)
    if isinstance(source, FolderSource):
        _refuse_near(source.root, destination, target)
    places.refuse_unreachable(destination)
    if os.path.ismount(target):  # of a container's volume, say
        raise ExportError(
            "a disk is mounted there, so no folder can get that name",
            where=destination,
            hint=("give a folder on it: ", Parameter("output", str(target / "model"))),
        )
    refuse_existing(destination, force=force, kind=kind)


def refuse_existing(destination: Path, *, force: bool, kind: Kind = EXPORT) -> None:
    """Raise `OutputExists` for what is there and may not be replaced."""
    target = resolved(destination)
    for path in (partial_of(target), replaced_of(target)):
        refuse_foreign(path)
    if not os.path.lexists(destination) or is_empty_folder(target):
        return
    may_go = kind.is_at(destination)
    if force and not may_go:
        raise OutputExists(
            ("the output exists, and is nothing that ", _FORCE, " may replace"),
            where=destination,
            got=_schema_at(destination),
            expected=f"a folder with {kind.record} of schema {kind.schema}",
            hint=ELSEWHERE,
        )
    if not force:
        hint: Text = ("use ", _FORCE, " to replace it, or ", *ELSEWHERE)
        if not may_go:
            hint = (*ELSEWHERE, ": ", _FORCE, " would not replace this one")
        raise OutputExists("the output exists already", where=destination, hint=hint)


def is_empty_folder(path: Path) -> bool:
    """Tell whether there is a folder with nothing in it, which an output may take."""
    try:
        return path.is_dir() and not any(path.iterdir())
    except OSError:
        return False


def _schema_at(path: Path) -> str:
    if not path.is_dir():
        return "something that is no folder"
    return record_schema(path) or "a folder of another kind"


def _refuse_near(source: Path, destination: Path, target: Path) -> None:
    root = source.resolve()
    for place in (target, partial_of(target), replaced_of(target)):
        if place == root or root in place.parents or place in root.parents:
            raise ExportError(
                "the output would lie inside the source, or around it",
                where=destination,
                got=f"source {source}",
                hint=ELSEWHERE,
            )
