"""Results with made-up scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from emo_prune.evaluation import (
    CategoryResult,
    Question,
    Results,
    Settings,
    TaskResult,
)
from emo_prune.evaluation.statistics import weighted_mean


def made_up_results(
    model: str,
    rising: bool = True,
    weights: Any = None,
    metric: str = "acc",
    **categories: Sequence[float] | np.ndarray,
) -> Results:
    """Results with made-up scores; document i of a category has hash i."""
    tasks = []
    for name, values in categories.items():
        scores = [float(value) for value in values]
        mean = weighted_mean(scores, weights or [1.0] * len(scores))
        tasks.append(
            TaskResult(
                name=f"task_{name}",
                category=name,
                metric=metric,
                higher_is_better=rising,
                value=mean.value,
                stderr=mean.stderr,
                n=mean.n,
                metrics={f"{metric},none": mean.value},
                questions=tuple(
                    Question(
                        document_sha256=f"{name}{i}",
                        score=s,
                        weight=weights[i] if weights else 1.0,
                    )
                    for i, s in enumerate(scores)
                ),
            )
        )
    counted = [t for t in tasks if t.category != "other"]
    return Results(
        model=model,
        task="mmlu",
        settings=Settings(
            num_fewshot=5,
            answer="letter",
            protocol="standard",
            limit=None,
            max_length=4096,
            dtype="float32",
        ),
        metric=metric,
        higher_is_better=rising,
        value=sum(t.value for t in counted) / len(counted),
        stderr=None,
        n=sum(t.n for t in counted),
        categories=tuple(
            CategoryResult(
                name=t.category,
                in_headline=t.category != "other",
                value=t.value,
                stderr=t.stderr,
                n=t.n,
                num_tasks=1,
            )
            for t in tasks
        ),
        tasks=tuple(tasks),
        num_truncated=0,
        prompts_sha256="",
        documents_sha256="",
        versions={},
    )
