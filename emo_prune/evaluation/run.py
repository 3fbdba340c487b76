"""Run an evaluation set through a model by lm-eval, and gather the results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_prune.checkpoint import local_folder
from emo_prune.errors import EvaluationError
from emo_prune.evaluation.answers import answer_of
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
from emo_prune.files import canonical_json, digest_of, versions
from emo_prune.tasks import EvaluationSet, ScoredTask, quiet

if TYPE_CHECKING:
    from emo_prune.evaluation.language_model import Progress, ScoringLM

_PACKAGES = ("emo-prune", "lm-eval", "transformers", "torch")


def evaluate(
    model: str,
    evaluation: EvaluationSet,
    *,
    name: str | None = None,
    batch_size: int | None = None,
    share_prefixes: bool = True,
    device: str | None = None,
    dtype: str = "auto",
    max_length: int | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> Results:
    """Load a checkpoint and score it.

    Args:
        model: a folder, or a Hub id.
        name: what results call it; None takes the folder's name, or the id.
        evaluation: from `emo_prune.tasks.evaluation_set`.
        batch_size: prompts per forward pass; None takes as many as fit, or 8 where
            prefixes are not shared. No result depends on it, up to rounding.
        share_prefixes: compute what prompts have in common once, where the model
            allows it; no result depends on that either.
        device: "cpu", "cuda:0", ...; None takes the GPU if there is one.
        dtype: "auto" is the checkpoint's own; or "float32", "bfloat16", ...
        max_length: context in tokens; None takes the model's own.
        progress: called with (requests done, requests in all).
        say: is told if the model does not allow sharing.

    Raises:
        CheckpointError: the model cannot be loaded.
        EvaluationError: it gives NaN.
    """
    from emo_prune.models.loading import load_model, load_tokenizer

    folder = local_folder(model)
    return evaluate_loaded(
        load_model(folder, device=device, dtype=dtype),
        load_tokenizer(folder),
        evaluation,
        name=name or (folder.resolve().name if Path(model).is_dir() else model),
        batch_size=batch_size,
        share_prefixes=share_prefixes,
        max_length=max_length,
        progress=progress,
        say=say,
    )


def evaluate_loaded(
    model: Any,
    tokenizer: Any,
    evaluation: EvaluationSet,
    *,
    name: str,
    batch_size: int | None = None,
    share_prefixes: bool = True,
    max_length: int | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> Results:
    """Score a model that is already in memory; `name` is what results call it."""
    with scorer(
        model,
        tokenizer,
        batch_size=batch_size,
        share_prefixes=share_prefixes,
        max_length=max_length,
        say=say,
    ) as lm:
        if progress is not None:
            lm.tell(progress)
        return evaluate_with(lm, evaluation, name=name)


@contextmanager
def scorer(
    model: Any,
    tokenizer: Any,
    *,
    batch_size: int | None = None,
    share_prefixes: bool = True,
    max_length: int | None = None,
    say: Callable[[str], None] | None = None,
) -> Iterator[ScoringLM]:
    """Lend a model in memory as a language model of lm-eval, for `evaluate_with`.

    The arguments are those of `evaluate`. Prompts that it scores more than once are
    tokenised once.
    """
    from emo_prune.evaluation.prefix_sharing import scoring_lm
    from emo_prune.models.loading import quiet_transformers

    with quiet(), quiet_transformers(), _evaluating(model):
        yield scoring_lm(
            model,
            tokenizer,
            share_prefixes=share_prefixes,
            batch_size=batch_size,
            max_length=max_length,
            say=say,
        )


def evaluate_with(lm: ScoringLM, evaluation: EvaluationSet, *, name: str) -> Results:
    """Score through a given language model of lm-eval."""
    import lm_eval

    lm.truncated.clear()
    with quiet():
        output = lm_eval.evaluate(
            lm=lm,
            task_dict={"tasks": {part.name: part.task for part in evaluation.tasks}},
            limit=evaluation.limit,
            bootstrap_iters=0,
            log_samples=True,
        )
    samples = output["samples"]
    tasks = tuple(
        _task_result(part, samples[part.name], output["results"][part.name])
        for part in evaluation.tasks
    )
    categories = _categories(tasks, evaluation.headline)
    headline = mean_of([c.estimate for c in categories if c.in_headline])
    return Results(
        model=name,
        task=evaluation.task.name,
        settings=Settings(
            num_fewshot=evaluation.num_fewshot,
            answer=evaluation.options.answer,
            protocol=evaluation.options.protocol,
            limit=evaluation.limit,
            max_length=lm.max_length,
            dtype=str(lm.model.dtype).removeprefix("torch."),
        ),
        metric=_common(t.metric for t in tasks),
        higher_is_better=tasks[0].higher_is_better,
        value=headline.value,
        stderr=headline.stderr,
        n=headline.n,
        categories=categories,
        tasks=tasks,
        num_truncated=len(lm.truncated),
        prompts_sha256=_digest(_prompts(evaluation, samples)),
        documents_sha256=_digest(_documents(evaluation, samples)),
        versions=versions(*_PACKAGES),
    )


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """lm-eval puts the model into evaluation mode; put it back afterwards."""
    training = model.training
    try:
        yield
    finally:
        model.train(training)


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
        answer=answer_of(part.task, sample),
    )


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


def _common(metrics: Iterable[str]) -> str:
    return "/".join(dict.fromkeys(metrics))


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
