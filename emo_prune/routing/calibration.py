"""The tokens that experts are chosen on, and what a document records of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_prune.facts import Calibration
from emo_prune.progress import Progress
from emo_prune.tasks import RenderMessages, Task, TaskOptions, calibration_set

if TYPE_CHECKING:
    from emo_prune.routing.batches import Batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """One task's calibration: batches of tokens, and what is recorded of them."""

    batches: Sequence[Batch]
    facts: Calibration

    @property
    def tokens_sha256(self) -> str:
        """The hash of all token ids."""
        return str(self.facts.tokens_sha256)


def calibrate(
    task: Task,
    prompts: TaskOptions,
    num_examples: int | None,
    *,
    config: Mapping[str, Any],
    folder: Path,
    progress: Progress,
    batch_size: int | None = None,
) -> Calibrated:
    """Build a task's prompts and turn them into batches of tokens.

    num_examples: None is all. config: the model's. folder: holds its tokenizer.
    batch_size: examples at a time; None lets their tokens decide.

    Raises:
        EmoPruneError: task, data or tokenizer cannot be used.
    """
    from emo_prune.models.loading import context_length, load_tokenizer
    from emo_prune.routing.batches import make_batches, tokenize

    tokenizer = load_tokenizer(folder)
    max_length = context_length(config)
    progress.say(f"building the prompts of {task.name}")
    made = calibration_set(
        task, prompts, num_examples, render_messages=chat_template(tokenizer)
    )
    texts = [example.context + example.completion for example in made.examples]
    examples = tokenize(texts, tokenizer, max_length)
    if examples.num_truncated:
        progress.say(
            f"{examples.num_truncated} of {len(texts)} examples are longer than the "
            f"model's context of {max_length} tokens; their beginning is left out"
        )
    facts = Calibration(
        task=made.task,
        split=made.split,
        protocol=made.protocol,
        answer=made.answer,
        num_examples=len(made.examples),
        num_fewshot=made.num_fewshot,
        seed=made.seed,
        num_tokens=examples.num_tokens,
        num_truncated=examples.num_truncated,
        tokens_sha256=examples.sha256,
        documents=tuple(sorted(set(made.document_sha256))),
    )
    return Calibrated(batches=make_batches(examples, batch_size), facts=facts)


def chat_template(tokenizer: Any) -> RenderMessages | None:
    """Return a function from chat messages to text; None without a chat template."""
    if not getattr(tokenizer, "chat_template", None):
        return None

    def render(messages: Sequence[Mapping[str, str]]) -> str:
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False))

    return render
