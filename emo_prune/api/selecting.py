"""From a model and a task to a selection."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_prune.api.opening import open_local, open_model
from emo_prune.api.watcher import Watcher
from emo_prune.architectures import MoEModel
from emo_prune.checkpoint import local_folder
from emo_prune.provenance import versions
from emo_prune.routing import LayerRouting
from emo_prune.selection import (
    NEED_OUTPUTS,
    Budget,
    Keep,
    LayerSelection,
    Limits,
    ScoresFile,
    Selection,
    check_score,
    choose_layer,
    parse_keep,
    read_scores,
    resolve_budget,
    select,
)
from emo_prune.tasks import Task, TaskOptions, calibration_set

if TYPE_CHECKING:
    from emo_prune.routing import TokenizedExamples


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectRequest:
    """What to select, on what, and how.

    model: a folder or a Hub id. num_examples: None means all. batch_size: examples at
    a time; None lets the tokens decide. device, dtype: as `load_model` takes them.
    """

    model: str
    task: Task
    keep: Keep = field(default_factory=lambda: parse_keep("12.5%"))
    revision: str | None = None
    options: TaskOptions = field(default_factory=TaskOptions)
    num_examples: int | None = 100
    score: str = "frequency"
    greedy: bool = False
    lower_top_k: bool = False
    device: str | None = None
    dtype: str = "auto"
    batch_size: int | None = None


def select_experts(
    request: SelectRequest, watcher: Watcher | None = None
) -> tuple[Selection, ScoresFile]:
    """Run a task's examples through a model and choose the experts it needs.

    Returns the selection, and everything counted, from which other budgets and scores
    can be selected (after a greedy pass that holds for this budget alone).

    Raises:
        BudgetError: before any model is loaded, if the budget is not possible.
        EmoPruneError: model, task or examples cannot be used.
    """
    watcher = watcher or Watcher()
    check_score(request.score)
    # Headers first: a budget that cannot be must not cost a download.
    limits = Limits.of(open_model(request.model, request.revision))
    budget = resolve_budget(request.keep, limits, lower_top_k=request.lower_top_k)
    model, identity = open_local(request.model, request.revision)
    choose = partial(
        choose_layer,
        limits=limits,
        budget=budget,
        score=request.score,
        seed=request.options.seed,
    )
    routing, layers, facts = _observe(request, model, choose, budget.top_k, watcher)
    model_facts = _model_facts(model, identity)
    used = versions("emo-prune", "torch", "transformers", "lm-eval")
    selection = Selection(
        model=model_facts,
        calibration=facts,
        method=_method(request.score, request.greedy, request.options.seed),
        budget=_budget_facts(budget, limits),
        layers=layers,
        versions=used,
    )
    scores = ScoresFile(
        model=model_facts,
        calibration=facts,
        versions=used,
        limits=limits,
        layers=tuple(routing),
    )
    return selection, scores


def select_from_scores(
    path: Path,
    keep: Keep,
    *,
    score: str = "frequency",
    lower_top_k: bool = False,
    seed: int | None = None,
) -> Selection:
    """Choose again from a scores file, by another budget or score; runs no model.

    `seed` matters for `random` alone; None is the calibration's.

    Raises:
        BadSelection: it is not a scores file.
        BudgetError, SelectionError: the budget or score is not possible.
    """
    check_score(score)
    scores = read_scores(path)
    budget = resolve_budget(keep, scores.limits, lower_top_k=lower_top_k)
    if seed is None:
        seed = int(scores.calibration.get("seed", 0))
    return Selection(
        model=scores.model,
        calibration=scores.calibration,
        method=_method(score, False, seed),
        budget=_budget_facts(budget, scores.limits),
        layers=select(scores.layers, scores.limits, budget, score=score, seed=seed),
        versions=scores.versions,
    )


def _calibrate(
    request: SelectRequest, tokenizer: Any, max_length: int | None, watcher: Watcher
) -> tuple[TokenizedExamples, dict[str, Any]]:
    """Build the examples' tokens, and the facts that a selection records of them."""
    from emo_prune.routing import tokenize

    watcher.say(f"building the prompts of {request.task.name}")
    calibration = calibration_set(
        request.task,
        request.options,
        request.num_examples,
        render_messages=chat_template(tokenizer),
    )
    texts = [example.context + example.completion for example in calibration.examples]
    examples = tokenize(texts, tokenizer, max_length)
    if examples.num_truncated:
        watcher.say(
            f"{examples.num_truncated} of {len(texts)} examples are longer than the "
            f"model's context of {max_length} tokens; their beginning is left out"
        )
    return examples, {
        "task": calibration.task,
        "split": calibration.split,
        "protocol": calibration.protocol,
        "answer": calibration.answer,
        "num_examples": len(calibration.examples),
        "num_fewshot": calibration.num_fewshot,
        "seed": calibration.seed,
        "num_tokens": examples.num_tokens,
        "num_truncated": examples.num_truncated,
        "tokens_sha256": examples.sha256,
        "documents": sorted(set(calibration.document_sha256)),
    }


def _observe(
    request: SelectRequest,
    model: MoEModel,
    choose: Callable[[LayerRouting], LayerSelection],
    top_k: int,
    watcher: Watcher,
) -> tuple[list[LayerRouting], tuple[LayerSelection, ...], dict[str, Any]]:
    """Run the examples; return the routing, the choice, and the calibration's facts."""
    from emo_prune.models.loading import context_length, load_model, load_tokenizer
    from emo_prune.routing import make_batches, observe, observe_greedy

    folder = local_folder(request.model, request.revision)
    tokenizer = load_tokenizer(folder)
    max_length = context_length(model.config)
    examples, facts = _calibrate(request, tokenizer, max_length, watcher)
    batches = make_batches(examples, request.batch_size)
    watcher.say(f"loading {model.checkpoint.name}")
    loaded = load_model(folder, device=request.device, dtype=request.dtype)
    outputs = request.score in NEED_OUTPUTS
    passes = len(model.layers) if request.greedy else 1
    tokens = passes * examples.num_tokens
    with watcher.track("observing routing", tokens, "tokens") as advance:
        if not request.greedy:
            routing = observe(
                loaded, model.architecture, batches, outputs=outputs, progress=advance
            )
            return routing, tuple(choose(layer) for layer in routing), facts
        chosen: list[LayerSelection] = []

        def choose_next(layer: LayerRouting) -> tuple[int, ...]:
            chosen.append(choose(layer))
            return chosen[-1].kept

        routing = observe_greedy(
            loaded,
            model.architecture,
            batches,
            choose_next,
            top_k,
            outputs=outputs,
            progress=advance,
        )
        return routing, tuple(chosen), facts


def chat_template(tokenizer: Any) -> Any:
    """Return a function from chat messages to text; None without a chat template."""
    if not getattr(tokenizer, "chat_template", None):
        return None

    def render(messages: Sequence[Mapping[str, str]]) -> str:
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False))

    return render


def _model_facts(model: MoEModel, identity: str) -> dict[str, Any]:
    return {
        "name": model.checkpoint.name,
        "revision": model.checkpoint.revision,
        "fingerprint": identity,
        "model_type": model.architecture.model_type,
        "num_experts": model.num_experts,
        "num_shared_experts": model.num_shared_experts,
        "num_experts_per_tok": model.top_k,
    }


def _method(score: str, greedy: bool, seed: int) -> dict[str, Any]:
    return {"score": score, "greedy": greedy, "seed": seed}


def _budget_facts(budget: Budget, limits: Limits) -> dict[str, Any]:
    return {
        "keep": budget.num_experts / max(limits.num_experts.values()),
        "num_experts": budget.num_experts,
        "num_experts_per_tok": budget.top_k,
    }
