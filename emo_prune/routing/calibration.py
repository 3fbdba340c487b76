"""What experts are chosen on: a task's prompts as token ids, in padded batches.

Light to import: torch, transformers and lm-eval are imported when prompts are built.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emo_prune.errors import CheckpointError, RoutingError
from emo_prune.facts import Calibration
from emo_prune.files import digest_of
from emo_prune.progress import Progress
from emo_prune.tasks import RenderMessages, Task, TaskOptions, calibration_set

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_BATCH_TOKENS = 2048  # of the real shape, half a gigabyte of activations


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedExamples:
    """Token ids of every example, in order. `num_truncated` lost tokens on the left."""

    sequences: tuple[tuple[int, ...], ...]
    num_truncated: int

    @property
    def num_tokens(self) -> int:
        """Tokens of all examples."""
        return sum(len(sequence) for sequence in self.sequences)

    @property
    def sha256(self) -> str:
        """A hash of the token ids, example by example."""
        return digest_of(
            np.array(sequence, dtype="<i8").tobytes() for sequence in self.sequences
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Token ids and mask, int64 [examples, tokens], padded on the right.

    `half` int64 [examples] says which half of the calibration set each example is in.
    """

    input_ids: Tensor
    attention_mask: Tensor
    half: Tensor

    @property
    def num_tokens(self) -> int:
        """Tokens without padding."""
        return int(self.attention_mask.sum())


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
    say_imports(progress)
    from emo_prune.models.loading import context_length, load_tokenizer

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


def say_imports(progress: Progress) -> None:
    """Say that torch and transformers are imported, unless that was begun already."""
    if "torch" not in sys.modules:  # up to 20 seconds on a cold disk
        progress.say("importing torch and transformers")


def chat_template(tokenizer: Any) -> RenderMessages | None:
    """Return a function from chat messages to text; None without a chat template."""
    if not getattr(tokenizer, "chat_template", None):
        return None

    def render(messages: Sequence[Mapping[str, str]]) -> str:
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False))

    return render


def tokenize(
    texts: Sequence[str], tokenizer: Any, max_length: int | None
) -> TokenizedExamples:
    """Turn texts into token ids, with the tokenizer's own special tokens, as lm-eval.

    A text that starts with the begin token already (from a chat template, say) gets no
    second one.

    An example longer than the context loses tokens on the left, where the few-shot
    demonstrations are; the question and its answer stay.

    Raises:
        RoutingError: there is no example, or one without a token, such as a text of
            nothing but characters the tokenizer drops.
    """
    sequences = []
    num_truncated = 0
    for position, text in enumerate(texts, start=1):
        begun = bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token)
        ids = tokenizer.encode(text, add_special_tokens=not begun)
        if not ids:
            raise RoutingError(
                "an example holds no token",
                where=f"the calibration set, example {position} of {len(texts)}",
                got=repr(text[:80]),
                expected="at least one token",
                hint="leave it out of the examples, or check the model's tokenizer",
            )
        if max_length is not None and len(ids) > max_length:
            ids = ids[-max_length:]
            num_truncated += 1
        sequences.append(tuple(int(token) for token in ids))
    if not sequences:
        raise RoutingError(
            "there is no example to observe",
            where="the calibration set",
            hint="give examples with text in them",
        )
    return TokenizedExamples(sequences=tuple(sequences), num_truncated=num_truncated)


def make_batches(
    examples: TokenizedExamples, batch_size: int | None = None
) -> list[Batch]:
    """Group examples of similar length, so that little is computed for padding.

    `batch_size` counts examples; without it a batch holds at most
    `DEFAULT_BATCH_TOKENS` tokens, padding included.
    """
    order = sorted(
        range(len(examples.sequences)), key=lambda i: -len(examples.sequences[i])
    )
    batches: list[Batch] = []
    group: list[int] = []
    for index in order:
        longest = len(examples.sequences[group[0] if group else index])
        limit = batch_size or max(1, DEFAULT_BATCH_TOKENS // longest)
        if len(group) >= limit:
            batches.append(_pad(examples, group))
            group = []
        group.append(index)
    batches.append(_pad(examples, group))
    return batches


def check_vocabulary(batches: Sequence[Batch], num_rows: int) -> None:
    """Refuse token ids beyond the `num_rows` rows of the model's embedding.

    Only ids that occur are judged: many tokenizers list added tokens beyond the
    embedding that no text ever gives, and many embeddings have rows that no token uses.

    Raises:
        CheckpointError: the tokenizer is not the model's.
    """
    largest = max((int(batch.input_ids.max()) for batch in batches), default=0)
    if largest >= num_rows:
        raise CheckpointError(
            "the tokenizer gives token ids that the model has no embedding for",
            got=f"id {largest}",
            expected=f"ids below {num_rows}",
            hint="copy the tokenizer files that belong to this model into its folder",
        )


def _pad(examples: TokenizedExamples, group: Sequence[int]) -> Batch:
    import torch

    sequences = [examples.sequences[index] for index in group]
    longest = max(len(sequence) for sequence in sequences)
    input_ids = torch.zeros(len(group), longest, dtype=torch.long)
    attention_mask = torch.zeros_like(input_ids)
    for row, sequence in enumerate(sequences):
        input_ids[row, : len(sequence)] = torch.tensor(sequence)
        attention_mask[row, : len(sequence)] = 1
    return Batch(
        input_ids=input_ids,
        attention_mask=attention_mask,
        half=torch.tensor([index % 2 for index in group]),
    )
