"""Score checkpoints by lm-eval, compare them question by question, and judge.

`Scorer` gives `Results`, the same numbers a direct run of lm-eval gives; `compare` sets
them against a baseline's on the same questions, `against_control` against experts
chosen for nothing; `judge` holds that against `Gates`, and `check_gates` fails what
lost too much; `refuse_overlap` keeps calibration documents out of the score. Importing
this package imports neither lm-eval nor torch.
"""

from emo_prune.evaluation.compare import Flip, compare, flips
from emo_prune.evaluation.controls import against_control
from emo_prune.evaluation.gates import Gates, check_gates, judge
from emo_prune.evaluation.overlap import evaluation_prompts, refuse_overlap
from emo_prune.evaluation.results import (
    CategoryResult,
    Comparison,
    Control,
    ControlKind,
    Difference,
    Question,
    Results,
    Settings,
    TaskResult,
    Verdict,
    load_results,
)
from emo_prune.evaluation.scored_model import ScoredModel, scored_model, subset_name
from emo_prune.evaluation.scorer import Scorer

__all__ = [
    "CategoryResult",
    "Comparison",
    "Control",
    "ControlKind",
    "Difference",
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
    "evaluation_prompts",
    "flips",
    "judge",
    "load_results",
    "refuse_overlap",
    "scored_model",
    "subset_name",
]
