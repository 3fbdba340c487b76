"""`emo_prune.json`: what an export was made from, kept inside it.

A pretrained checkpoint has a file of that name too, with a schema of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from emo_prune.errors import ExportError
from emo_prune.files import readable_json, strict_json
from emo_prune.selection import Selection
from emo_prune.version import __version__

RECORD = "emo_prune.json"
SCHEMA = "emo-prune/export/1"
PRETRAIN_SCHEMA = "emo-prune/pretrain/1"
Layout = Literal["source", "qwen2_moe"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRecord:
    """What an export was made from.

    left_out: files of the source that were not copied (weights in other formats).
    dropped_tensors: tensors outside the experts that have no place in the export.
    num_bytes, source_bytes: of all tensors, after and before.
    """

    layout: Layout
    selection: Selection
    selection_sha256: str
    left_out: Sequence[str]
    dropped_tensors: Sequence[str]
    num_bytes: int
    source_bytes: int
    parent: Mapping[str, Any] | None

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the source."""
        return self.selection.model.fingerprint

    def to_text(self) -> str:
        """Return the text of emo_prune.json."""
        value: dict[str, Any] = {
            "schema": SCHEMA,
            "layout": self.layout,
            "num_bytes": self.num_bytes,
            "source_bytes": self.source_bytes,
            "left_out": list(self.left_out),
            "dropped_tensors": list(self.dropped_tensors),
            "selection_sha256": self.selection_sha256,
            "selection": self.selection.to_dict(),
            "parent": self.parent,
            "versions": {"emo_prune": __version__},
        }
        return readable_json(value)


def record_schema(folder: Path, record: str = RECORD) -> str | None:
    """Return the schema that a folder's record names; None if it has none."""
    try:
        return str(strict_json((folder / record).read_bytes())["schema"])
    except (OSError, KeyError, TypeError, ValueError):
        return None


def read_record(folder: Path) -> ExportRecord:
    """Read what an export was made from.

    Raises:
        ExportError: the folder is not an export of this program.
    """
    path = folder / RECORD
    try:
        value = strict_json(path.read_bytes())
        if value["schema"] != SCHEMA:
            raise ValueError(f"schema {value['schema']!r}")
        record = ExportRecord(
            layout=value["layout"],
            selection=Selection.from_value(value["selection"], RECORD),
            selection_sha256=value["selection_sha256"],
            left_out=value["left_out"],
            dropped_tensors=value["dropped_tensors"],
            num_bytes=value["num_bytes"],
            source_bytes=value["source_bytes"],
            parent=value["parent"],
        )
        _check_types(record)
        return record
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ExportError(
            "this folder is not an export of emo-prune",
            where=folder,
            got=f"no {RECORD}" if isinstance(error, OSError) else str(error),
            expected=f"{RECORD} with schema {SCHEMA}",
            hint="give the folder that `emo-prune export` wrote",
        ) from None


def _check_types(record: ExportRecord) -> None:
    sound = (
        record.layout in get_args(Layout)
        and all(
            isinstance(names, list) and all(isinstance(name, str) for name in names)
            for names in (record.left_out, record.dropped_tensors)
        )
        and type(record.num_bytes) is int
        and type(record.source_bytes) is int
    )
    if not sound:
        raise ValueError("a value of the wrong type")
    if record.selection_sha256 != record.selection.sha256:
        raise ValueError("a selection that was edited after the export")
