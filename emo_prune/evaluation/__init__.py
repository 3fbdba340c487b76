"""Score checkpoints by lm-eval, compare them question by question, and judge.

`evaluate` gives `Results`, the same numbers a direct run of lm-eval gives; `compare`
sets them against a baseline's on the same questions, `against_control` against experts
chosen for nothing; `judge` holds that against
`Gates`, and `check_gates` fails what lost too much; `refuse_overlap` keeps calibration
documents out of the score; `Sweep` holds the figures of many. Importing this room
imports neither lm-eval nor torch.
"""

from emo_prune.evaluation.compare import Comparison, Difference, compare
from emo_prune.evaluation.controls import Control, ControlKind, against_control
from emo_prune.evaluation.flips import Flip
from emo_prune.evaluation.gates import Gates, Verdict, check_gates, judge
from emo_prune.evaluation.overlap import refuse_overlap
from emo_prune.evaluation.results import (
    CategoryResult,
    Question,
    Results,
    Settings,
    TaskResult,
    results_schema,
)
from emo_prune.evaluation.run import (
    evaluate,
    evaluate_loaded,
    evaluate_with,
    scorer,
)
from emo_prune.sweeps.document import Cell, Row, Sweep, sweep_schema

__all__ = [
    "CategoryResult",
    "Cell",
    "Comparison",
    "Control",
    "ControlKind",
    "Difference",
    "Flip",
    "Gates",
    "Question",
    "Results",
    "Row",
    "Settings",
    "Sweep",
    "TaskResult",
    "Verdict",
    "against_control",
    "check_gates",
    "compare",
    "evaluate",
    "evaluate_loaded",
    "evaluate_with",
    "judge",
    "refuse_overlap",
    "results_schema",
    "scorer",
    "sweep_schema",
]
