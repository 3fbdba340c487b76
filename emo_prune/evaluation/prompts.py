"""What a model is asked, and that none of it has chosen its experts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from emo_prune.errors import CalibrationOverlap, Parameter
from emo_prune.evaluation.scorer import ScoredModel
from emo_prune.facts import Calibration
from emo_prune.options import PromptOptions, ScoringOptions
from emo_prune.progress import SILENT, Progress
from emo_prune.routing.calibration import chat_template
from emo_prune.tasks import (
    EvaluationSet,
    Task,
    TaskOptions,
    evaluation_set,
    task_options,
)

_SHOWN = 200  # characters of the example


def evaluation_prompts(
    task: Task,
    prompts: TaskOptions,
    limit: int | None,
    model: ScoredModel,
    progress: Progress = SILENT,
) -> EvaluationSet:
    """Build what a task asks a model; `messages` go through its tokenizer's template.

    limit: documents of each lm-eval task; None is all.

    Raises:
        EmoPruneError: the task, its data or the tokenizer cannot be used.
    """
    progress.say(f"building the prompts of {task.name}")
    render = None
    if task.kind == "examples":
        from emo_prune.models.loading import load_tokenizer

        render = chat_template(load_tokenizer(model.folder))
    return evaluation_set(task, prompts, limit, render_messages=render)


def prompts_as_selected(
    options: PromptOptions, task: Task, calibration: Calibration | None
) -> TaskOptions:
    """Return how prompts are made: as was asked for, else as those that calibrated.

    calibration: of the selection; None where there was none.
    """
    if calibration is None or task.kind == "examples":
        return task_options(options)
    num_fewshot = options.num_fewshot
    if num_fewshot is None and calibration.task == task.name:
        num_fewshot = calibration.num_fewshot  # type: ignore[assignment]
    return task_options(
        dataclasses.replace(
            options,
            num_fewshot=num_fewshot,
            answer=options.answer or calibration.answer or None,
            protocol=options.protocol or calibration.protocol or None,
        )
    )


def checked_prompts(
    options: ScoringOptions,
    task: Task,
    prompts: TaskOptions,
    model: ScoredModel,
    documents: Iterable[str],
) -> EvaluationSet:
    """Build what a task asks a model, none of it of documents that chose experts.

    Raises:
        CalibrationOverlap: some is, and that is not allowed.
        EmoPruneError: the task, its data or the tokenizer cannot be used.
    """
    evaluation = evaluation_prompts(
        task, prompts, options.limit, model, options.progress
    )
    refuse_overlap(
        evaluation, documents, allow=options.allow_overlap, progress=options.progress
    )
    return evaluation


def refuse_overlap(
    evaluation: EvaluationSet,
    calibration_sha256: Iterable[str],
    *,
    allow: bool = False,
    progress: Progress = SILENT,
) -> int:
    """Return how many scored documents calibrated; refuse them unless allowed.

    Args:
        evaluation: what is to be scored.
        calibration_sha256: `CalibrationSet.document_sha256`, or what a selection
            recorded of it.
        allow: count and tell of them, but do not raise.
        progress: is told.

    Raises:
        CalibrationOverlap: with the number and an example.
    """
    known = frozenset(calibration_sha256)
    shared = [
        (part, number)
        for part in evaluation.tasks
        for number, digest in enumerate(part.document_sha256)
        if digest in known
    ]
    if shared and not allow:
        part, number = shared[0]
        document = part.task.eval_docs[number]
        text = part.task.doc_to_text(document) or part.task.doc_to_target(document)
        raise CalibrationOverlap(
            f"{len(shared)} of the {len(evaluation.document_sha256)} documents to be "
            "scored chose the experts",
            where=evaluation.task.name,
            got=f"{part.name}, document {number}: {str(text)[:_SHOWN]!r}",
            expected="documents that did not calibrate",
            hint=(
                *("score another split (", Parameter("protocol")),
                " as in select) or other examples; ",
                *(Parameter("allow_overlap", True), " scores them nevertheless"),
            ),
        )
    if shared:
        progress.say(f"{len(shared)} documents to be scored have chosen experts")
    return len(shared)
