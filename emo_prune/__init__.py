"""Turn a large mixture-of-experts model into the small one that a task needs.

    from emo_prune import evaluate, export, select

    selection = select(model="./model", task="math", keep="25%")
    export(selection, model="./model", output="small")
    evaluate("small", max_drop=3)

Importing the package teaches transformers' Auto classes EMO and EMoE; torch and
transformers themselves are imported only when something here needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emo_prune.lazy import lazy_names
from emo_prune.models.registration import register_models
from emo_prune.version import __version__

if TYPE_CHECKING:
    from emo_prune.architectures import Inspection, inspect
    from emo_prune.carving import CarvingRecord, Restored, carve, restore
    from emo_prune.errors import EmoPruneError, GateFailed
    from emo_prune.evaluation import Evaluation, Results, load_results
    from emo_prune.evaluation.evaluating import evaluate, evaluate_all
    from emo_prune.exports import ExportRecord
    from emo_prune.exports.exporting import Exported, export, export_all
    from emo_prune.exports.extraction import Extracted, extract
    from emo_prune.exports.verification import VerificationReport, verify
    from emo_prune.models import EmoConfig as EmoConfig
    from emo_prune.models import EmoForCausalLM as EmoForCausalLM
    from emo_prune.pretraining import Pretrained, PretrainRecord, pretrain
    from emo_prune.progress import Progress
    from emo_prune.reports import Report, report
    from emo_prune.selection import Selection, load_selection, reselect, select
    from emo_prune.sweeps import Sweep, sweep

# Where each public name is. What a verb's package offers is a line here.
_HOMES = {
    "CarvingRecord": "carving",
    "EmoConfig": "models",
    "EmoForCausalLM": "models",
    "EmoPruneError": "errors",
    "Evaluation": "evaluation",
    "ExportRecord": "exports",
    "Exported": "exports",
    "Extracted": "exports",
    "GateFailed": "errors",
    "Inspection": "architectures",
    "PretrainRecord": "pretraining",
    "Pretrained": "pretraining",
    "Progress": "progress",
    "Report": "reports",
    "Restored": "carving",
    "Results": "evaluation",
    "Selection": "selection",
    "Sweep": "sweeps",
    "VerificationReport": "exports",
    "carve": "carving",
    "evaluate": "evaluation",
    "evaluate_all": "evaluation",
    "export": "exports",
    "export_all": "exports",
    "extract": "exports",
    "inspect": "architectures",
    "load_results": "evaluation",
    "load_selection": "selection",
    "pretrain": "pretraining",
    "report": "reports",
    "reselect": "selection",
    "restore": "carving",
    "select": "selection",
    "sweep": "sweeps",
    "verify": "exports",
}

# Without EmoConfig and EmoForCausalLM, whose bases would fill help(emo_prune).
__all__ = [
    "CarvingRecord",
    "EmoPruneError",
    "Evaluation",
    "ExportRecord",
    "Exported",
    "Extracted",
    "GateFailed",
    "Inspection",
    "PretrainRecord",
    "Pretrained",
    "Progress",
    "Report",
    "Restored",
    "Results",
    "Selection",
    "Sweep",
    "VerificationReport",
    "__version__",
    "carve",
    "evaluate",
    "evaluate_all",
    "export",
    "export_all",
    "extract",
    "inspect",
    "load_results",
    "load_selection",
    "pretrain",
    "report",
    "reselect",
    "restore",
    "select",
    "sweep",
    "verify",
]

register_models()

__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(__all__)
