"""Token ids that a model has no embedding for, found before they are looked up.

Only ids that occur are judged: many tokenizers list added tokens beyond the embedding
that no text ever gives, and many embeddings have rows that no token uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from emo_prune.errors import CheckpointError


def num_embeddings(model: Any) -> int:
    """Return how many token ids a model of transformers can read."""
    return int(model.get_input_embeddings().weight.shape[0])


def check_token_ids(sequences: Iterable[Sequence[int]], num_rows: int) -> None:
    """Refuse token ids outside [0, num_rows), `num_rows` being the embedding's.

    Raises:
        CheckpointError: tokenizer and model are not of one kind.
    """
    largest = max((max(ids) for ids in sequences if len(ids)), default=0)
    if largest >= num_rows:
        raise CheckpointError(
            "the tokenizer gives token ids that the model has no embedding for",
            got=f"id {largest}",
            expected=f"ids below {num_rows}",
            hint="copy the tokenizer files that belong to this model into its folder",
        )
