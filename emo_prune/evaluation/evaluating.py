"""`evaluate` scores one model; `evaluate_all` does all that `emo-prune eval` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emo_prune.errors import (
    Command,
    EmoPruneError,
    GateFailed,
    Parameter,
    SettingsError,
)
from emo_prune.evaluation.checkpoints import named_checkpoint, score_checkpoints
from emo_prune.evaluation.ci import add_to_summary, write_ci_files
from emo_prune.evaluation.controls import parse_control
from emo_prune.evaluation.evaluation import Evaluation
from emo_prune.evaluation.gates import Gates, check_gates
from emo_prune.evaluation.selections import score_selections
from emo_prune.models.placement import check_placement
from emo_prune.options import EvaluateOptions, several, verb


@verb(EvaluateOptions)
def evaluate(options: EvaluateOptions) -> Evaluation:
    """Score a checkpoint on a task through lm-eval, and say what pruning cost.

    `path` is an export or any other checkpoint. With one `selection` instead, `model`
    is scored with all its experts and then with those alone, as its export would be. Of
    an export or a selection, the task, answer style and demonstrations are those it was
    selected with, unless options say otherwise.

    Nothing is written but where `output`, `junit` and `samples` say.

    Raises:
        CalibrationOverlap: a document to be scored has chosen experts.
        GateFailed: a gate was not met; its `evaluations` hold what was found.
        EmoPruneError: model, baseline or task cannot be used.
    """
    if len(several(options.selection)) != 1 and not named_checkpoint(options):
        raise SettingsError(
            "there is not one checkpoint to score",
            where=Parameter("path"),
            got=f"{len(several(options.selection))} selections",
            expected="a checkpoint folder, or one selection",
            hint=("score several with ", Command("evaluate_all")),
        )
    return _evaluated(options, by_default=False)[-1]


@verb(EvaluateOptions)
def evaluate_all(options: EvaluateOptions) -> tuple[Evaluation, ...]:
    """Score every export under emo-prune-out/, or what was named.

    Of selections, `model` comes first, with all its experts; it is loaded once. Results
    are written where `output` says, or beside each export and selection (of any other
    checkpoint, into emo-prune-out/<task>/). In a job of GitHub Actions, its summary is
    added to.

    Raises:
        CalibrationOverlap: a document to be scored has chosen experts.
        GateFailed: a gate was not met, after everything was written.
        EmoPruneError: model, baseline or task cannot be used.
    """
    return _evaluated(options, by_default=True)


def _evaluated(options: EvaluateOptions, *, by_default: bool) -> tuple[Evaluation, ...]:
    """Score, write, judge, write what CI reads, and only then fail.

    by_default: results have a place where `output` says nothing.
    """
    gates = Gates.of(options)
    controls = tuple(map(parse_control, dict.fromkeys(several(options.control))))
    check_placement(options.device, options.dtype)
    score = score_selections if options.selection else score_checkpoints
    found = []
    for one in score(options, gates, controls, by_default):
        if one.file is not None:
            options.progress.say(f"wrote {one.save()}")
        found.append(one)
    # Scores that a gate cannot judge are written before it says so.
    judged = tuple(one.judged(gates) for one in found)
    for one in judged:
        if one.file is not None and one.verdicts:
            one.save()
    problems = write_ci_files(
        judged,
        junit=None if options.junit is None else Path(options.junit),
        samples=None if options.samples is None else Path(options.samples),
        progress=options.progress,
    )
    if by_default:
        add_to_summary(judged, options.progress)
    _check(judged, problems, options)
    return judged


def _check(
    judged: tuple[Evaluation, ...],
    problems: Sequence[EmoPruneError],
    options: EvaluateOptions,
) -> None:
    """Raise for a gate that failed, else for a file that could not be written."""
    try:
        check_gates([verdict for one in judged for verdict in one.verdicts])
    except GateFailed as failed:
        for problem in problems:  # must not hide the gate
            options.progress.say(str(problem))
        failed.evaluations = judged
        raise
    for problem in problems:
        raise problem
