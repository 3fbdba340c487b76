"""What an export says of itself: `emo_prune.json`, and the model card.

A pretrained checkpoint has a file of that name too, with a schema of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec

from emo_prune.architectures import fingerprint
from emo_prune.architectures.opening import open_model
from emo_prune.artifacts import Count, Document, Sha256
from emo_prune.checkpoint import local_folder, locate
from emo_prune.errors import (
    ArchitectureError,
    CheckpointError,
    Command,
    EmoPruneError,
    ExportError,
)
from emo_prune.exports.formats import find_format
from emo_prune.facts import Versions
from emo_prune.places import RECORD
from emo_prune.selection import Selection


class ExportRecord(Document, frozen=True, kw_only=True, tag="emo-prune/export/1"):
    """What an export was made from.

    layout: the name of the format. num_bytes, source_bytes: of all tensors, after and
        before.
    left_out: files of the source that were not copied (weights in other formats).
    dropped_tensors: tensors outside the experts that have no place in the export.
    selection_sha256: the hash of selection.json.
    parent: the source's own record, as it is: of an export, or of a training.
    """

    error: ClassVar[type[EmoPruneError]] = ExportError
    made_by: ClassVar[str] = "export"

    layout: str
    num_bytes: Count
    source_bytes: Count
    left_out: tuple[str, ...]
    dropped_tensors: tuple[str, ...]
    selection_sha256: Sha256
    selection: Selection
    parent: Mapping[str, Any] | None
    versions: Versions

    def __post_init__(self) -> None:
        if self.selection_sha256 != self.selection.sha256:
            raise ValueError("a selection that was edited after the export")

    def __repr__(self) -> str:
        return (
            f"ExportRecord({self.layout}, {self.num_bytes:,} bytes, {self.selection!r})"
        )

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the source."""
        return self.selection.model.fingerprint

    @property
    def history(self) -> Iterator[Selection]:
        """The selection, and those of the exports that the source was made of.

        Raises:
            ExportError: the record of one of them is damaged.
        """
        yield self.selection
        if self.parent is not None and self.parent.get("schema") == self.schema:
            yield from ExportRecord.from_value(self.parent, f"{RECORD}, parent").history

    @classmethod
    def from_value(cls, value: object, where: object) -> Self:
        """Read a JSON value; the source's record stays as it was written."""
        record = super().from_value(value, where)
        parent = value["parent"] if isinstance(value, dict) else None
        return msgspec.structs.replace(record, parent=parent)


def read_record(folder: str | Path) -> ExportRecord:
    """Read what an export was made from.

    Raises:
        ExportError: the folder is not an export, or its record is damaged.
    """
    file = Path(folder) / RECORD
    if not file.is_file():
        raise ExportError(
            "this folder is not an export of emo-prune",
            where=folder,
            got=f"no {RECORD}",
            expected=f"{RECORD} with schema {ExportRecord.schema}",
            hint=("give the folder that ", Command("export"), " wrote"),
        )
    return ExportRecord.load(file)


def find_source(selection: Selection) -> str:
    """Return where the checkpoint a selection was made for can be found.

    Looked up by fingerprint among the checkpoints this machine has seen; else the
    Hub id and revision that the selection names, which are downloaded.

    Raises:
        CheckpointError: it is nowhere to be found.
    """
    name, wanted = selection.model.name, selection.model.fingerprint
    known = locate(wanted)
    if known is not None and Path(known).is_dir() and _is(known, wanted):
        return known
    if "/" in name:
        return str(local_folder(name, selection.model.revision))
    raise CheckpointError(
        "the checkpoint that the selection was made for is not found",
        where=name,
        got="no path",
        expected=f"a checkpoint with fingerprint {wanted}",
        hint=(
            *("give its folder: ", Command("export", {"model": "FOLDER"})),
            *(", ", Command("verify", {"source": "FOLDER"})),
            *(" or ", Command("evaluate", {"baseline": "FOLDER"})),
        ),
    )


def _is(path: str, wanted: str) -> bool:
    try:
        return fingerprint(open_model(path)) == wanted
    except (CheckpointError, ArchitectureError):
        return False


def model_card(record: ExportRecord, *, has_source_card: bool) -> str:
    """Return README.md for an export: what it is, what was kept, how it was chosen."""
    selection = record.selection
    model, calibration = selection.model, selection.calibration
    kept, total = selection.budget.num_experts, model.num_experts
    layout = find_format(record.layout)
    front_matter = [
        "---",
        "library_name: transformers",
        "tags:",
        "- emo-prune",
        "- moe",
    ]
    if "/" in model.name:
        front_matter.append(f"base_model: {model.name}")
    front_matter.append("---")
    lines = [
        *front_matter,
        "",
        f"# {model.name}, {kept} of {total} experts",
        "",
        f"The part of `{model.name}` that the task `{calibration.task}` uses: "
        f"{kept} of {total} experts in each layer, "
        f"{record.num_bytes / 1e9:.2f} GB of {record.source_bytes / 1e9:.2f} GB. "
        f"No weight was changed{layout.changes}. {layout.card_line(model.model_type)}",
        "",
        "Outside that task, expect it to be worse than the model it comes from.",
        "",
        "| | |",
        "|---|---|",
        f"| source | `{model.name}`, revision `{model.revision or 'unknown'}` |",
        f"| source fingerprint | `{model.fingerprint}` |",
        f"| chosen by | {selection.method.score}"
        + (", layer by layer (greedy)" if selection.method.greedy else "")
        + " |",
        f"| chosen on | {calibration.num_examples} examples of "
        f"`{calibration.task}`, {calibration.num_tokens:,} tokens |",
        f"| experts per token | {selection.top_k} |",
        "",
        "Share of the routing that the kept experts held on those examples:",
        "",
        "| layer | top-k picks | probability |",
        "|---|---|---|",
        *(
            f"| {row.layer} | {row.retained_picks:.1%} | {row.retained_mass:.1%} |"
            for row in selection.layers
        ),
        "",
        "Made with emo-prune; `emo_prune.json` holds the whole record.",
    ]
    if has_source_card:
        lines.append("The card of the source is in `README.source.md`.")
    return "\n".join(lines) + "\n"
