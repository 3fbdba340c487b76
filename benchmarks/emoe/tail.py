"""Training of a decoder's last layers, fed with what comes out of the frozen others.

What the layers below make of a row of tokens never changes, so it is computed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from training_rows import Row

_ROWS = 32


@dataclass(frozen=True, slots=True)
class Fed:
    """A row: its tokens, what the frozen layers make of them, the answer's start."""

    ids: Tensor
    hidden: Tensor
    start: int


@torch.no_grad()
def hidden_states(model: Any, first: int, rows: Sequence[Row]) -> list[Fed]:
    """Run rows through the layers below `first`."""
    fed: list[Fed] = []
    decoder = model.base_model
    with layers(decoder, slice(0, first), norm=nn.Identity()):
        for start in range(0, len(rows), _ROWS):
            some = rows[start : start + _ROWS]
            ids = [torch.tensor(row.ids) for row in some]
            found = decoder(
                input_ids=pad_sequence(ids, batch_first=True),
                attention_mask=_mask(ids),
                use_cache=False,
            ).last_hidden_state
            fed += (
                Fed(one, states[: len(one)].clone(), row.start)
                for row, one, states in zip(some, ids, found, strict=True)
            )
    return fed


@contextmanager
def layers(decoder: Any, some: slice, norm: nn.Module | None = None) -> Iterator[None]:
    """Leave a decoder some of its layers, and another norm, for a while."""
    every, last = decoder.layers, decoder.norm
    decoder.layers, decoder.norm = every[some], norm or last
    try:
        yield
    finally:
        decoder.layers, decoder.norm = every, last


def loss(model: Any, rows: Sequence[Fed]) -> Tensor:
    """Return the mean loss of the answers' tokens; only the last layers are there."""
    ids = [row.ids for row in rows]
    states = model.base_model(
        inputs_embeds=pad_sequence([row.hidden for row in rows], batch_first=True),
        attention_mask=_mask(ids),
        use_cache=False,
    ).last_hidden_state
    before = [
        one[row.start - 1 : len(row.ids) - 1]
        for one, row in zip(states, rows, strict=True)
    ]
    asked = torch.cat([row.ids[row.start :] for row in rows])
    return functional.cross_entropy(model.lm_head(torch.cat(before)), asked)


def _mask(ids: Sequence[Tensor]) -> Tensor:
    """Return the attention mask of rows that are padded on the right."""
    ones = [torch.ones(len(one), dtype=torch.long) for one in ids]
    return pad_sequence(ones, batch_first=True)
