"""Tasks and their prompts: MMLU, MMLU-Pro, GSM8K, any lm-eval task, your own examples.

`parse_task` reads a name, `calibration_set` gives the examples that experts are chosen
on, `evaluation_set` the documents that are scored. Both make prompts through the same
lm-eval task object, and never of the same document. Importing this package is light:
lm-eval and datasets are imported when prompts are built.
"""

from emo_prune.tasks.calibration import CalibrationSet, calibration_set
from emo_prune.tasks.examples import (
    Example,
    ExampleRow,
    RenderMessages,
    read_examples,
)
from emo_prune.tasks.harness import quiet
from emo_prune.tasks.scored import EvaluationSet, ScoredTask, evaluation_set
from emo_prune.tasks.task import (
    MMLU_CATEGORIES,
    MMLU_PRO_CATEGORIES,
    Task,
    TaskOptions,
    check_prompts,
    own_names,
    parse_task,
    task_options,
)

__all__ = [
    "MMLU_CATEGORIES",
    "MMLU_PRO_CATEGORIES",
    "CalibrationSet",
    "EvaluationSet",
    "Example",
    "ExampleRow",
    "RenderMessages",
    "ScoredTask",
    "Task",
    "TaskOptions",
    "calibration_set",
    "check_prompts",
    "evaluation_set",
    "own_names",
    "parse_task",
    "quiet",
    "read_examples",
    "task_options",
]
