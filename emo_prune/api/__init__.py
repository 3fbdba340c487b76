"""The road as functions of Python: what each command does, without the console.

`inspect_checkpoint`, `select_experts` (or `select_from_scores`), `export_selection`,
`verify_folder` and `evaluate_task` take what the command line's options hold, and
return values. Nothing here prints; progress goes to the `Watcher` that is handed in.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emo_prune.api.evaluating import EvaluateRequest as EvaluateRequest
    from emo_prune.api.evaluating import evaluate_task as evaluate_task
    from emo_prune.api.exporting import export_selection as export_selection
    from emo_prune.api.exporting import open_model as open_model
    from emo_prune.api.exporting import verify_folder as verify_folder
    from emo_prune.api.selecting import SelectRequest as SelectRequest
    from emo_prune.api.selecting import select_experts as select_experts
    from emo_prune.api.selecting import select_from_scores as select_from_scores
    from emo_prune.api.watcher import Watcher as Watcher

_HOMES = {
    "EvaluateRequest": "evaluating",
    "SelectRequest": "selecting",
    "Watcher": "watcher",
    "evaluate_task": "evaluating",
    "export_selection": "exporting",
    "open_model": "exporting",
    "select_experts": "selecting",
    "select_from_scores": "selecting",
    "verify_folder": "exporting",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605
