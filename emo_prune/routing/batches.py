"""Examples as token ids, cut to the model's context, in padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emo_prune.errors import CheckpointError, RoutingError
from emo_prune.files import digest_of

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
    """Token ids and mask [examples, tokens], padded on the right.

    `half` [examples] says which half of the calibration set each example is in.
    """

    input_ids: Tensor
    attention_mask: Tensor
    half: Tensor


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


def num_embeddings(model: Any) -> int:
    """Return how many token ids a model of transformers can read."""
    return int(model.get_input_embeddings().weight.shape[0])


def _pad(examples: TokenizedExamples, group: Sequence[int]) -> Batch:
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
