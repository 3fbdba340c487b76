"""A model to be scored: its folder, its name, and what chose its experts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emo_prune.checkpoint import local_folder, name_of_folder
from emo_prune.exports import (
    PRETRAIN_SCHEMA,
    ExportRecord,
    read_record,
    record_schema,
)
from emo_prune.facts import Calibration
from emo_prune.places import RECORD
from emo_prune.selection import Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredModel:
    """A checkpoint at hand. `record` is None unless it is an export."""

    folder: Path
    name: str
    record: ExportRecord | None

    @property
    def calibration(self) -> Calibration | None:
        """The calibration that chose its experts; None for no export."""
        return None if self.record is None else self.record.selection.calibration

    @property
    def documents(self) -> frozenset[str]:
        """Hashes of all documents that chose experts, its source's included."""
        history = () if self.record is None else self.record.history
        return frozenset(d for one in history for d in one.calibration.documents)


def scored_model(model: str | Path) -> ScoredModel:
    """Return what a folder or Hub id stands for; a Hub id is downloaded.

    An export is named by its source and size ("allenai/Emo_1b14b_1T, 16 of 128
    experts"), any other checkpoint by its id or folder.

    Raises:
        CheckpointError: it is neither a folder nor on the Hub.
        ExportError: its record is damaged.
    """
    folder = local_folder(str(model))
    pretrained = record_schema(folder) == PRETRAIN_SCHEMA
    if pretrained or not (folder / RECORD).is_file():
        return ScoredModel(
            folder=folder, name=name_of_folder(folder.resolve())[0], record=None
        )
    record = read_record(folder)
    return ScoredModel(folder=folder, name=subset_name(record.selection), record=record)


def subset_name(selection: Selection) -> str:
    """Return what results call the part of a model that a selection keeps."""
    source, budget = selection.model, selection.budget
    kept = f"{budget.num_experts} of {source.num_experts} experts"
    return f"{source.name}, {kept}"
