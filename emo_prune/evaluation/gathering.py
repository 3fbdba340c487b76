"""From what lm-eval put out to results: questions, tasks, categories, the headline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emo_prune.errors import EvaluationError
from emo_prune.evaluation.results import (
    CategoryResult,
    Question,
    Results,
    Settings,
    TaskResult,
)
from emo_prune.evaluation.statistics import (
    Estimate,
    mean_of,
    pooled_mean,
    weighted_mean,
)
from emo_prune.facts import SCORING
from emo_prune.files import canonical_json, digest_of, versions
from emo_prune.tasks import EvaluationSet, ScoredTask

if TYPE_CHECKING:
    from emo_prune.tasks.prompted import PromptedTask


def gathered(
    evaluation: EvaluationSet,
    output: Mapping[str, Any],
    *,
    name: str,
    max_length: int,
    dtype: str,
    num_truncated: int,
) -> Results:
    """Return the results of an evaluation set from lm-eval's output, with samples.

    Raises:
        EvaluationError: the metrics of the tasks have no common direction.
    """
    samples = output["samples"]
    tasks = tuple(
        _task_result(part, samples[part.name], output["results"][part.name])
        for part in evaluation.tasks
    )
    categories = _categories(tasks, evaluation.headline)
    headline = mean_of(
        [
            Estimate(value=one.value, stderr=one.stderr, n=one.n)
            for one in categories
            if one.in_headline
        ]
    )
    return Results(
        model=name,
        task=evaluation.task.name,
        settings=Settings(
            num_fewshot=evaluation.num_fewshot,
            answer=evaluation.options.answer,
            protocol=evaluation.options.protocol,
            limit=evaluation.limit,
            max_length=max_length,
            dtype=dtype,
        ),
        metric="/".join(dict.fromkeys(task.metric for task in tasks)),
        higher_is_better=tasks[0].higher_is_better,
        value=headline.value,
        stderr=headline.stderr,
        n=headline.n,
        categories=categories,
        tasks=tasks,
        num_truncated=num_truncated,
        prompts_sha256=_digest(_prompts(evaluation, samples)),
        documents_sha256=_digest(_documents(evaluation, samples)),
        versions=versions(*SCORING),
    )


def _task_result(
    part: ScoredTask, samples: list[dict[str, Any]], metrics: Mapping[str, Any]
) -> TaskResult:
    """Take the first metric of the first filter for the task's figure, as lm-eval does.

    For GSM8K that is exact_match after the strict filter ("#### 42").
    """
    first = _first_filter(samples)
    metric = next(m for m in part.task.aggregation() if m in first[0]["metrics"])
    questions: tuple[Question, ...] = ()
    figure = Estimate(
        value=float(metrics[f"{metric},{first[0]['filter']}"]),
        stderr=None,
        n=len(first),
    )
    if part.task.aggregation()[metric] in _means():
        questions = tuple(_question(part, metric, sample) for sample in first)
        figure = _mean(questions)
    return TaskResult(
        name=part.name,
        category=part.category,
        metric=metric,
        higher_is_better=bool(part.task.higher_is_better().get(metric, True)),
        value=figure.value,
        stderr=figure.stderr,
        n=figure.n,
        metrics={k: float(v) for k, v in metrics.items() if _is_figure(k, v)},
        questions=questions,
    )


def _means() -> tuple[Any, ...]:
    from lm_eval.api.registry import get_aggregation

    return get_aggregation("mean"), get_aggregation("bits_per_byte")


def _question(part: ScoredTask, metric: str, sample: Mapping[str, Any]) -> Question:
    document_sha256 = part.document_sha256[sample["doc_id"]]
    if metric == "bits_per_byte":
        log_likelihood, size = sample[metric]
        bits = -log_likelihood / math.log(2)
        return Question(
            document_sha256=document_sha256, score=bits / size, weight=float(size)
        )
    return Question(
        document_sha256=document_sha256,
        score=float(sample[metric]),
        answer=_answer(part.task, sample),
    )


def _answer(task: PromptedTask, sample: Mapping[str, Any]) -> str | None:
    """Return the option a model found likeliest, or what it wrote after the filter.

    None for texts, of which only the likelihood is known, and for several answers to
    one question. Of options equally likely the first counts, as in lm-eval's `acc`.
    """
    responses = sample["filtered_resps"]
    if task.OUTPUT_TYPE == "multiple_choice":
        options = task.doc_to_choice(sample["doc"])
        # Unconditional likelihoods, if a metric asks for them, come after these.
        likelihoods = [response[0] for response in responses[: len(options)]]
        best = max(range(len(likelihoods)), key=likelihoods.__getitem__)
        return str(options[best]).strip()
    if task.OUTPUT_TYPE == "generate_until" and isinstance(responses[0], str):
        return responses[0].strip()
    return None


def _mean(questions: Sequence[Question]) -> Estimate:
    return weighted_mean([q.score for q in questions], [q.weight for q in questions])


def _is_figure(key: str, value: Any) -> bool:
    return "_stderr" not in key and "," in key and isinstance(value, int | float)


def _categories(
    tasks: tuple[TaskResult, ...], headline: tuple[str, ...]
) -> tuple[CategoryResult, ...]:
    if len({task.higher_is_better for task in tasks}) > 1:
        raise EvaluationError(
            "these tasks have no common direction: some metrics rise, some fall",
            got=", ".join(f"{task.name}: {task.metric}" for task in tasks),
            hint="evaluate them one by one",
        )
    names = dict.fromkeys(task.category for task in tasks)
    return tuple(
        _category(name, [t for t in tasks if t.category == name], name in headline)
        for name in names
    )


def _category(name: str, tasks: list[TaskResult], in_headline: bool) -> CategoryResult:
    questions = [(q, task.name) for task in tasks for q in task.questions]
    if questions:
        figure = pooled_mean(
            [q.score for q, _ in questions],
            [q.weight for q, _ in questions],
            [name for _, name in questions],
        )
    else:
        figure = Estimate(value=tasks[0].value, stderr=None, n=tasks[0].n)
    return CategoryResult(
        name=name,
        in_headline=in_headline,
        value=figure.value,
        stderr=figure.stderr,
        n=figure.n,
        num_tasks=len(tasks),
    )


def _first_filter(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [s for s in samples if s["filter"] == samples[0]["filter"]]


def _prompts(evaluation: EvaluationSet, samples: Mapping[str, Any]) -> Iterable[Any]:
    for part in evaluation.tasks:
        for sample in _first_filter(samples[part.name]):
            yield [part.name, sample["arguments"]]


def _documents(evaluation: EvaluationSet, samples: Mapping[str, Any]) -> Iterable[Any]:
    for part in evaluation.tasks:
        for sample in _first_filter(samples[part.name]):
            digest = part.document_sha256[sample["doc_id"]]
            yield [part.name, digest, sample["target"]]


def _digest(rows: Iterable[Any]) -> str:
    return digest_of(canonical_json(row).encode() for row in rows)
