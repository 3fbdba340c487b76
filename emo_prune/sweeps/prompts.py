"""The prompts of a sweep's tasks, each built once in a process."""

from __future__ import annotations

from emo_prune.architectures import MoEModel
from emo_prune.evaluation import evaluation_prompts
from emo_prune.evaluation.scored_model import ScoredModel as Subject
from emo_prune.progress import Progress
from emo_prune.routing.calibration import Calibrated, calibrate
from emo_prune.sweeps.cells import CellOptions
from emo_prune.sweeps.tasks import SweepTask
from emo_prune.tasks import EvaluationSet


class Prompts:
    """What tasks calibrate on and what they score, for one model's tokenizer."""

    def __init__(
        self, whole: Subject, opened: MoEModel, options: CellOptions, progress: Progress
    ) -> None:
        self._whole = whole
        self._opened = opened
        self._options = options
        self._watcher = progress
        self._calibrated: dict[tuple[SweepTask, int | None], Calibrated] = {}
        self._scored: dict[SweepTask, EvaluationSet] = {}

    def calibrated(self, task: SweepTask, num_examples: int | None) -> Calibrated:
        """Return the tokens that experts are chosen on; None is all examples.

        Raises:
            EmoPruneError: task, data or tokenizer cannot be used.
        """
        key = (task, num_examples)
        if key not in self._calibrated:
            self._calibrated[key] = calibrate(
                task.calibration,
                self._options.options,
                num_examples,
                config=self._opened.config,
                folder=self._whole.folder,
                progress=self._watcher,
            )
        return self._calibrated[key]

    def scored(self, task: SweepTask) -> EvaluationSet:
        """Return what is scored; whether it has chosen experts is for others to check.

        Raises:
            EmoPruneError: task, data or tokenizer cannot be used.
        """
        if task not in self._scored:
            self._scored[task] = evaluation_prompts(
                task.scored,
                self._options.options,
                self._options.limit,
                self._whole,
                self._watcher,
            )
        return self._scored[task]
