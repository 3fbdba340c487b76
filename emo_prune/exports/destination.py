"""Where an output may go: nowhere near its source, and over nothing but its like."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from emo_prune.checkpoint import ByteSource, FolderSource
from emo_prune.errors import ExportError, OutputExists
from emo_prune.exports.partial import partial_of, refuse_foreign, replaced_of
from emo_prune.exports.record import (
    PRETRAIN_SCHEMA,
    RECORD,
    SCHEMA,
    record_schema,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of output, known by its schema in a record inside the folder."""

    record: str
    schema: str

    def is_at(self, folder: Path) -> bool:
        """Tell whether a folder is of this kind, its record whole or damaged.

        A folder with an export's record is an export, whatever it was made of.
        """
        if self.record != RECORD and (folder / RECORD).exists():
            return False
        known = record_schema(folder, self.record) in (self.schema, None)
        return known and (folder / self.record).is_file()


EXPORT = Kind(record=RECORD, schema=SCHEMA)
PRETRAINED = Kind(record=RECORD, schema=PRETRAIN_SCHEMA)


def check_destination(
    source: ByteSource | None, destination: Path, *, force: bool, kind: Kind = EXPORT
) -> None:
    """Raise `OutputExists` or `ExportError` where `destination` must not be written.

    `force` replaces a folder of the same `kind`.
    """
    if isinstance(source, FolderSource):
        _refuse_near(source.root, destination)
    if not os.path.lexists(destination):
        _refuse_below_a_file(destination)
    refuse_existing(destination, force=force, kind=kind)


def refuse_existing(destination: Path, *, force: bool, kind: Kind = EXPORT) -> None:
    """Raise `OutputExists` for what is there and may not be replaced."""
    target = destination.resolve()
    for path in (partial_of(target), replaced_of(target)):
        refuse_foreign(path)
    if not os.path.lexists(destination):
        return
    may_go = kind.is_at(destination)
    if force and not may_go:
        raise OutputExists(
            "the output exists, and is nothing that --force may replace",
            where=destination,
            got=_schema_at(destination),
            expected=f"a folder with {kind.record} of schema {kind.schema}",
            hint="choose another folder with -o",
        )
    if not force:
        raise OutputExists(
            "the output exists already",
            where=destination,
            hint="use --force to replace it, or -o for another folder"
            if may_go
            else "choose another folder with -o: --force would not replace this one",
        )


def _schema_at(path: Path) -> str:
    if not path.is_dir():
        return "something that is no folder"
    return record_schema(path) or "a folder of another kind"


def _refuse_near(source: Path, destination: Path) -> None:
    root, target = source.resolve(), destination.resolve()
    for place in (target, partial_of(target), replaced_of(target)):
        if place == root or root in place.parents or place in root.parents:
            raise ExportError(
                "the output would lie inside the source, or around it",
                where=destination,
                got=f"source {source}",
                hint="choose another folder with -o",
            )


def _refuse_below_a_file(destination: Path) -> None:
    there = next(path for path in destination.absolute().parents if path.exists())
    if not there.is_dir():
        raise ExportError(
            "the output cannot be written, since it would lie below a file",
            where=destination,
            got=f"{there}, which is no folder",
            hint="choose another folder with -o",
        )
