"""From a selection to bytes, and the proof that they are the right ones.

`plan_export` says exactly what will be written (it is the dry run), `export` writes it
so that it appears complete or not at all (`GradualExport` does so layer by layer), and
`verify_export` re-reads source and export on its own and compares every byte. No torch,
no decoding.
"""

from emo_prune.exports.destination import PRETRAINED, Kind, check_destination
from emo_prune.exports.export import export
from emo_prune.exports.gradual import GradualExport
from emo_prune.exports.partial import PartialFolder, partial_of
from emo_prune.exports.plan import ExportPlan, plan_export
from emo_prune.exports.publishing import named_errors, publish
from emo_prune.exports.record import (
    PRETRAIN_SCHEMA,
    RECORD,
    ExportRecord,
    read_record,
    record_schema,
)
from emo_prune.exports.verify import VerificationReport, verify_export

__all__ = [
    "PRETRAINED",
    "PRETRAIN_SCHEMA",
    "RECORD",
    "ExportPlan",
    "ExportRecord",
    "GradualExport",
    "Kind",
    "PartialFolder",
    "VerificationReport",
    "check_destination",
    "export",
    "named_errors",
    "partial_of",
    "plan_export",
    "publish",
    "read_record",
    "record_schema",
    "verify_export",
]
