"""Find the questions that two evaluations of one task have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from emo_prune.evaluation.results import Question, Results, TaskResult


def matched_tasks(
    results: Results, baseline: Results
) -> Iterator[tuple[TaskResult, TaskResult]]:
    """Yield the lm-eval tasks of both, by name."""
    others = {task.name: task for task in baseline.tasks}
    for task in results.tasks:
        if task.name in others:
            yield task, others[task.name]


def matched_questions(
    mine: TaskResult, other: TaskResult
) -> Iterator[tuple[Question, Question]]:
    """Yield the questions of both, by document hash.

    Of equal documents in one task the first goes with the first.
    """
    theirs = dict(_occurrences(other))
    for key, question in _occurrences(mine):
        if key in theirs:
            yield question, theirs[key]


def _occurrences(task: TaskResult) -> Iterator[tuple[tuple[str, int], Question]]:
    seen: Counter[str] = Counter()
    for question in task.questions:
        yield (question.document_sha256, seen[question.document_sha256]), question
        seen[question.document_sha256] += 1
