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
    from emo_prune.errors import EmoPruneError
    from emo_prune.evaluation import Evaluation, Results, load_results
    from emo_prune.evaluation.evaluating import evaluate, evaluate_all
    from emo_prune.exports import ExportRecord
    from emo_prune.exports.exporting import Exported, export, export_all
    from emo_prune.exports.extraction import Extracted, extract
    from emo_prune.exports.verification import VerificationReport, verify
    from emo_prune.models import EmoConfig as EmoConfig
    from emo_prune.models import EmoForCausalLM as EmoForCausalLM
    from emo_prune.progress import Progress
    from emo_prune.reports import Report, report
    from emo_prune.selection import Selection, load_selection, reselect, select
    from emo_prune.sweeps import Sweep, sweep

# Where each public name is. What a verb's package offers is a line here.
_HOMES = {
    "EmoConfig": "models",
    "EmoForCausalLM": "models",
    "EmoPruneError": "errors",
    "Evaluation": "evaluation",
    "ExportRecord": "exports",
    "Exported": "exports",
    "Extracted": "exports",
    "Inspection": "architectures",
    "Progress": "progress",
    "Report": "reports",
    "Results": "evaluation",
    "Selection": "selection",
    "Sweep": "sweeps",
    "VerificationReport": "exports",
    "evaluate": "evaluation",
    "evaluate_all": "evaluation",
    "export": "exports",
    "export_all": "exports",
    "extract": "exports",
    "inspect": "architectures",
    "load_results": "evaluation",
    "load_selection": "selection",
    "report": "reports",
    "reselect": "selection",
    "select": "selection",
    "sweep": "sweeps",
    "verify": "exports",
}

# Without EmoConfig and EmoForCausalLM, whose bases would fill help(emo_prune).
__all__ = [
    "EmoPruneError",
    "Evaluation",
    "ExportRecord",
    "Exported",
    "Extracted",
    "Inspection",
    "Progress",
    "Report",
    "Results",
    "Selection",
    "Sweep",
    "VerificationReport",
    "__version__",
    "evaluate",
    "evaluate_all",
    "export",
    "export_all",
    "extract",
    "inspect",
    "load_results",
    "load_selection",
    "report",
    "reselect",
    "select",
    "sweep",
    "verify",
]

register_models()

__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(__all__)
