"""Score checkpoints by lm-eval, compare them question by question, and judge.

`evaluate` and `evaluate_all` are the verbs. `Scorer` gives `Results`, the same numbers
that a direct run of lm-eval gives; `compare` sets them against a baseline's on the same
questions, `against_control` against experts that were not chosen for the task; `judge`
holds that against `Gates`, and `check_gates` fails what lost too much; `refuse_overlap`
keeps calibration documents out of the score. Importing this package imports neither
lm-eval nor torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emo_prune.evaluation.compare import Flip, compare, flips
from emo_prune.evaluation.controls import against_control
from emo_prune.evaluation.evaluation import Evaluation
from emo_prune.evaluation.gates import Gates, check_gates, judge
from emo_prune.evaluation.prompts import evaluation_prompts, refuse_overlap
from emo_prune.evaluation.results import (
    CategoryResult,
    Comparison,
    Control,
    ControlKind,
    Difference,
    Evaluations,
    Question,
    Results,
    Settings,
    TaskResult,
    Verdict,
    load_results,
)
from emo_prune.evaluation.scorer import ScoredModel, Scorer, scored_model, subset_name
from emo_prune.lazy import lazy_names

if TYPE_CHECKING:
    from emo_prune.evaluation.evaluating import evaluate, evaluate_all

__all__ = [
    "CategoryResult",
    "Comparison",
    "Control",
    "ControlKind",
    "Difference",
    "Evaluation",
    "Evaluations",
    "Flip",
    "Gates",
    "Question",
    "Results",
    "ScoredModel",
    "Scorer",
    "Settings",
    "TaskResult",
    "Verdict",
    "against_control",
    "check_gates",
    "compare",
    "evaluate",
    "evaluate_all",
    "evaluation_prompts",
    "flips",
    "judge",
    "load_results",
    "refuse_overlap",
    "scored_model",
    "subset_name",
]

__getattr__ = lazy_names(
    __name__, {"evaluate": "evaluating", "evaluate_all": "evaluating"}
)
