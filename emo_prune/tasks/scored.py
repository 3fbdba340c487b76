"""The documents an evaluation scores, as lm-eval tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from emo_prune.errors import Parameter, TaskError
from emo_prune.tasks.examples import RenderMessages, read_examples
from emo_prune.tasks.harness import quiet
from emo_prune.tasks.prepare import Prepared, prepare, prepare_examples
from emo_prune.tasks.task import (
    OUTSIDE_THE_HEADLINE,
    Task,
    TaskOptions,
    check_prompts,
    no_examples,
)

if TYPE_CHECKING:
    from emo_prune.tasks.prompted import PromptedTask


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredTask:
    """One lm-eval task and the hashes of its scored documents, in their order."""

    name: str
    category: str
    task: PromptedTask
    document_sha256: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSet:
    """What is scored. `limit` holds for each lm-eval task, as in lm-eval."""

    task: Task
    options: TaskOptions
    limit: int | None
    num_fewshot: int
    tasks: tuple[ScoredTask, ...]

    @property
    def headline(self) -> tuple[str, ...]:
        """The categories in the headline mean: all but `other`, unless it is alone."""
        names = list(dict.fromkeys(part.category for part in self.tasks))
        counted = [name for name in names if name != OUTSIDE_THE_HEADLINE]
        return tuple(counted or names)

    @property
    def document_sha256(self) -> tuple[str, ...]:
        """The hashes of all scored documents."""
        return tuple(h for part in self.tasks for h in part.document_sha256)


def evaluation_set(
    task: Task,
    options: TaskOptions,
    limit: int | None = None,
    *,
    render_messages: RenderMessages | None = None,
) -> EvaluationSet:
    """Build what an evaluation of a task scores: test, else validation documents.

    Under protocol "emo" the authors' part of the test split; of an examples file every
    row. The prompts are those `calibration_set` makes, of other documents.

    Args:
        task: from `parse_task`.
        options: how prompts are made.
        limit: score only the first so many documents of each lm-eval task (each of
            MMLU's 57 subjects is one).
        render_messages: turns `messages` of an examples file into text.

    Raises:
        TaskError, DataMissing, UnknownTask, BadExamples: as `calibration_set`.
    """
    if limit is not None and limit < 1:
        raise TaskError(
            "nothing is left to score",
            got=Parameter("limit", limit),
            expected="1 or more",
            hint=("leave ", Parameter("limit"), " out to score every document"),
        )
    if task.kind == "examples":
        if task.examples is None:
            raise no_examples()
        check_prompts(task, options)
        rows = read_examples(task.examples, render_messages)
        prepared: tuple[Prepared, ...] = (prepare_examples(task, rows),)
    else:
        prepared = prepare(task, options)
    with quiet():
        return EvaluationSet(
            task=task,
            options=options,
            limit=limit,
            num_fewshot=prepared[0].task.config.num_fewshot,
            tasks=tuple(
                ScoredTask(
                    name=part.task.task_name,
                    category=part.category,
                    task=part.task,
                    document_sha256=_hashes(part.task, limit),
                )
                for part in prepared
            ),
        )


def _hashes(task: PromptedTask, limit: int | None) -> tuple[str, ...]:
    return tuple(
        task.document_sha256(document) for _, document in task.doc_iterator(limit=limit)
    )
