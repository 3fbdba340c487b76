"""`emo-prune eval`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from emo_prune.cli import console
from emo_prune.cli.command import command as command_of
from emo_prune.errors import GateFailed
from emo_prune.options import EvaluateOptions

if TYPE_CHECKING:
    from emo_prune.evaluation import Evaluation


def _evaluate(options: EvaluateOptions, as_json: bool) -> None:
    """Score a checkpoint on a task through lm-eval, and say what pruning cost.

    Of an export, the task, answer style and demonstrations are those it was selected
    with, unless options say otherwise. Writes results.json beside an export under
    emo-prune-out/<task>/, results-<name>.json there for any other checkpoint. In GitHub
    Actions it also adds to the job's summary.

        emo-prune eval

        emo-prune eval ./small --task math --baseline ./model --max-drop 1.0

    With --selection the model is loaded once and its routers are masked for each
    selection; results go beside the selection.

        emo-prune eval --model ./model -s a.json -s b.json --max-drop 1.0

    Controls show whether the experts know the task, or whether any would have done:

        emo-prune eval ./small --control random --control other-task
    """
    from emo_prune.evaluation import Evaluation, evaluate_all

    try:
        _print(evaluate_all.on(options), as_json)
    except GateFailed as failed:
        found = [one for one in failed.evaluations if isinstance(one, Evaluation)]
        _print(found, as_json)
        raise


def _print(evaluations: Sequence[Evaluation], as_json: bool) -> None:
    """Print a table each, or one document: of several, a list within it."""
    if not as_json:
        from emo_prune.evaluation.gates import gate_line
        from emo_prune.reports.terminal import results_table

        for one in evaluations:
            console.table(results_table(one.results))
            for verdict in one.verdicts:
                console.result(gate_line(verdict))
        return
    from emo_prune.evaluation import Evaluations

    results = tuple(one.results for one in evaluations)
    several = Evaluations(results=results)
    console.document((results[0] if len(results) == 1 else several).to_text())


command = command_of(EvaluateOptions, _evaluate)
