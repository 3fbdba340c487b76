"""From an export (or any checkpoint) and a task to figures, and what they mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from emo_prune.api.exporting import find_source
from emo_prune.api.selecting import chat_template
from emo_prune.api.watcher import Advance, Watcher
from emo_prune.checkpoint import local_folder, name_of_folder
from emo_prune.errors import EvaluationError
from emo_prune.evaluation import (
    Comparison,
    Results,
    compare,
    evaluate,
    refuse_overlap,
)
from emo_prune.export import RECORD, ExportRecord, read_record
from emo_prune.tasks import EvaluationSet, Task, TaskOptions, evaluation_set


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateRequest:
    """What to score, on what, and against what.

    model: an export, another folder, or a Hub id. baseline: a folder or Hub id;
    "source" is the checkpoint that the export records; None compares with nothing.
    """

    model: str
    task: Task
    options: TaskOptions = field(default_factory=TaskOptions)
    baseline: str | None = None
    limit: int | None = None
    allow_overlap: bool = False
    device: str | None = None
    dtype: str = "auto"
    batch_size: int = 8


def evaluate_task(
    request: EvaluateRequest, watcher: Watcher | None = None
) -> tuple[Results, Comparison | None]:
    """Score a checkpoint through lm-eval and compare it with its baseline.

    Raises:
        CalibrationOverlap: a document to be scored has chosen the experts.
        EmoPruneError: model, baseline or task cannot be used.
    """
    watcher = watcher or Watcher()
    record = record_of(request.model)
    baseline = request.baseline
    if baseline == "source":
        baseline = _source_of(request.model, record)
    for model in (request.model, baseline):
        if model is not None:
            local_folder(model)  # here, or an error, before anything is computed
    scored = _scored(request, watcher)
    if record is not None:
        documents = record.selection.calibration["documents"]
        overlap = refuse_overlap(scored, documents, allow=request.allow_overlap)
        if overlap:
            watcher.say(f"{overlap} documents to be scored have chosen the experts")
    results = _score(request, request.model, scored, watcher)
    if baseline is None:
        return results, None
    against = _score(request, baseline, scored, watcher)
    return results, compare(results, against)


def record_of(model: str) -> ExportRecord | None:
    """Return the record of an export; None for any other checkpoint."""
    folder = Path(model)
    return read_record(folder) if (folder / RECORD).is_file() else None


def _source_of(model: str, record: ExportRecord | None) -> str:
    if record is None:
        raise EvaluationError(
            "there is nothing to compare with",
            where=model,
            got="a checkpoint that is not an export, and no --baseline",
            expected="an export, which records its source, or a --baseline",
            hint="add --baseline MODEL",
        )
    return find_source(record.selection)


def _scored(request: EvaluateRequest, watcher: Watcher) -> EvaluationSet:
    from emo_prune.models.loading import load_tokenizer

    watcher.say(f"building the prompts of {request.task.name}")
    render = None
    if request.task.kind == "examples":
        render = chat_template(load_tokenizer(local_folder(request.model)))
    return evaluation_set(
        request.task, request.options, request.limit, render_messages=render
    )


def _score(
    request: EvaluateRequest, model: str, scored: EvaluationSet, watcher: Watcher
) -> Results:
    name = _name(model)
    watcher.say(f"loading {name}")
    total = sum(len(part.document_sha256) for part in scored.tasks)
    with watcher.track(f"scoring {name}", total, "documents") as advance:
        results = evaluate(
            model,
            scored,
            name=name,
            batch_size=request.batch_size,
            device=request.device,
            dtype=request.dtype,
            progress=_in_documents(advance, total),
        )
    if results.num_truncated:
        watcher.say(
            f"{results.num_truncated} prompts are longer than the model's context of "
            f"{results.settings.max_length} tokens; their beginning is left out"
        )
    return results


def _in_documents(advance: Advance, total: int) -> Callable[[int, int], None]:
    """Turn lm-eval's (requests done, in all) into advances of documents."""
    told = 0

    def progress(done: int, everything: int) -> None:
        nonlocal told
        documents = total * done // max(everything, 1)
        advance(documents - told)
        told = documents

    return progress


def _name(model: str) -> str:
    """Return what results call a checkpoint; an export by its source and size."""
    record = record_of(model)
    if record is None:
        folder = Path(model)
        return name_of_folder(folder.resolve())[0] if folder.is_dir() else model
    source, budget = record.selection.model, record.selection.budget
    kept = f"{budget['num_experts']} of {source['num_experts']} experts"
    return f"{source['name']}, {kept}"
