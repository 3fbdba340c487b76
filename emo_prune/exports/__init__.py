"""From a selection to bytes, and the proof that they are the right ones.

`export` writes the checkpoint that a selection describes, `extract` selects and writes
at once, layer by layer, and `verify` re-reads source and export on its own and compares
every byte. `plan_export`, `write_export` and `verify_export` are their parts, for who
has a model open already. An output appears complete or not at all: `appearing` and
`publish` do so for every verb that writes a folder. No torch, no decoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emo_prune.exports.destination import (
    PRETRAIN_SCHEMA,
    PRETRAINED,
    Kind,
    check_destination,
    record_schema,
    resolved,
)
from emo_prune.exports.partial import PartialFolder, partial_of
from emo_prune.exports.plan import ExportPlan, plan_export
from emo_prune.exports.publishing import appearing, named_errors, publish
from emo_prune.exports.record import ExportRecord, find_source, read_record
from emo_prune.lazy import lazy_names

if TYPE_CHECKING:
    from emo_prune.exports.exporting import Exported, export, export_all, write_export
    from emo_prune.exports.extraction import Extracted, Subset, extract
    from emo_prune.exports.verification import (
        VerificationReport,
        verify,
        verify_export,
    )

__all__ = [
    "PRETRAINED",
    "PRETRAIN_SCHEMA",
    "ExportPlan",
    "ExportRecord",
    "Exported",
    "Extracted",
    "Kind",
    "PartialFolder",
    "Subset",
    "VerificationReport",
    "appearing",
    "check_destination",
    "export",
    "export_all",
    "extract",
    "find_source",
    "named_errors",
    "partial_of",
    "plan_export",
    "publish",
    "read_record",
    "record_schema",
    "resolved",
    "verify",
    "verify_export",
    "write_export",
]

_HOMES = {
    "Exported": "exporting",
    "Extracted": "extraction",
    "Subset": "extraction",
    "VerificationReport": "verification",
    "export": "exporting",
    "export_all": "exporting",
    "extract": "extraction",
    "verify": "verification",
    "verify_export": "verification",
    "write_export": "exporting",
}

__getattr__ = lazy_names(__name__, _HOMES)
