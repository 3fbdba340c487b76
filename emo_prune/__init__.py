"""Turn a large mixture-of-experts model into the small one that a task needs.

Importing the package teaches transformers' Auto classes EMO and EMoE; torch and
transformers themselves are imported only when something here needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emo_prune.lazy import lazy_names
from emo_prune.models.registration import register_models

if TYPE_CHECKING:
    from emo_prune.errors import EmoPruneError
    from emo_prune.evaluation.evaluate import EvaluateRequest, evaluate_task
    from emo_prune.exports.export_selection import (
        plan_selection,
        verify_folder,
        write_plan,
    )
    from emo_prune.exports.extract import (
        Extraction,
        ExtractRequest,
        extract_experts,
    )
    from emo_prune.models import EmoConfig, EmoForCausalLM
    from emo_prune.selection import parse_keep
    from emo_prune.selection.select import (
        SelectRequest,
        select_experts,
        select_from_scores,
    )
    from emo_prune.tasks import parse_task

__version__ = "0.1.0"

__all__ = [
    "EmoConfig",
    "EmoForCausalLM",
    "EmoPruneError",
    "EvaluateRequest",
    "ExtractRequest",
    "Extraction",
    "SelectRequest",
    "evaluate_task",
    "extract_experts",
    "parse_keep",
    "parse_task",
    "plan_selection",
    "select_experts",
    "select_from_scores",
    "verify_folder",
    "write_plan",
]

_HOMES = {
    "EmoConfig": "models",
    "EmoForCausalLM": "models",
    "EmoPruneError": "errors",
    "EvaluateRequest": "evaluation.evaluate",
    "ExtractRequest": "exports.extract",
    "Extraction": "exports.extract",
    "SelectRequest": "selection.select",
    "evaluate_task": "evaluation.evaluate",
    "extract_experts": "exports.extract",
    "parse_keep": "selection",
    "parse_task": "tasks",
    "plan_selection": "exports.export_selection",
    "select_experts": "selection.select",
    "select_from_scores": "selection.select",
    "verify_folder": "exports.export_selection",
    "write_plan": "exports.export_selection",
}

register_models()


__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted([*globals(), *_HOMES])
