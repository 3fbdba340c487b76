"""The tokens that experts are chosen on, and what a selection records of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_prune.progress import Watcher
from emo_prune.selection import Keep, parse_keep
from emo_prune.tasks import Task, TaskOptions, calibration_set

if TYPE_CHECKING:
    from emo_prune.routing import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How examples are made and run through a model.

    options: how prompts are made. num_examples: None means all. batch_size: examples
    at a time; None lets the tokens decide. device, dtype: as `load_model` takes them.
    """

    options: TaskOptions = field(default_factory=TaskOptions)
    num_examples: int | None = 100
    device: str | None = None
    dtype: str = "auto"
    batch_size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceOptions(RunOptions):
    """How examples are run through a model, and how experts are chosen from that.

    keep, score, lower_top_k: how many, by what, and whether fewer than a token uses.

    max_memory: bytes for hidden states and the layer read ahead, of a streamed run;
    None takes half of what is free. resume: go on from where such a run was
    interrupted. force: start over instead, and replace what it left.
    """

    keep: Keep = field(default_factory=lambda: parse_keep("12.5%"))
    score: str = "frequency"
    lower_top_k: bool = False
    max_memory: int | None = None
    resume: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """One task's calibration: batches of tokens, and the facts of a selection."""

    batches: Sequence[Batch]
    facts: Mapping[str, Any]

    @property
    def num_tokens(self) -> int:
        """Tokens of all examples."""
        return int(self.facts["num_tokens"])


def calibrate(
    task: Task,
    options: RunOptions,
    config: Mapping[str, Any],
    folder: Path,
    watcher: Watcher,
) -> Calibrated:
    """Build a task's prompts and turn them into batches of tokens.

    `config` is the model's, `folder` holds its tokenizer.

    Raises:
        EmoPruneError: task, data or tokenizer cannot be used.
    """
    from emo_prune.models.loading import context_length, load_tokenizer
    from emo_prune.routing import make_batches, tokenize

    tokenizer = load_tokenizer(folder)
    max_length = context_length(config)
    watcher.say(f"building the prompts of {task.name}")
    calibration = calibration_set(
        task,
        options.options,
        options.num_examples,
        render_messages=chat_template(tokenizer),
    )
    texts = [example.context + example.completion for example in calibration.examples]
    examples = tokenize(texts, tokenizer, max_length)
    if examples.num_truncated:
        watcher.say(
            f"{examples.num_truncated} of {len(texts)} examples are longer than the "
            f"model's context of {max_length} tokens; their beginning is left out"
        )
    facts = {
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
    batches = make_batches(examples, options.batch_size)
    return Calibrated(batches=batches, facts=facts)


def chat_template(tokenizer: Any) -> Any:
    """Return a function from chat messages to text; None without a chat template."""
    if not getattr(tokenizer, "chat_template", None):
        return None

    def render(messages: Sequence[Mapping[str, str]]) -> str:
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False))

    return render
