"""Documents of one part of the text, and windows of tokens cut from them.

A document opens with the end-of-text token, as in training. Its windows overlap by one
token, so that every token but the opening one is predicted exactly once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from corpus import DOMAINS
from torch import Tensor

CONTEXT = 256
_SHORTEST = 32  # tokens; what is left over at a document's end may be a word or two


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Windows of one domain.

    tokens: int64 [windows, CONTEXT], filled up with the end-of-text token.
    lengths: int64 [windows], tokens that are text.
    documents: int64 [windows], the document each was cut from.
    """

    tokens: Tensor
    lengths: Tensor
    documents: Tensor

    @property
    def valid(self) -> Tensor:
        """Which tokens [windows, CONTEXT] are text."""
        return torch.arange(self.tokens.shape[1]) < self.lengths[:, None]


def read_documents(work: Path, part: str, domain: str) -> list[str]:
    """Return the documents of a domain, in the order of its file."""
    file = work / part / f"{domain}.jsonl"
    rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [str(row["text"]) for row in rows]


def read_windows(
    work: Path, part: str, tokenizer: Any, *, documents: int, each: int
) -> Mapping[str, Windows]:
    """Return, for every domain, the first windows of its first documents."""
    return {
        domain: cut(
            read_documents(work, part, domain)[:documents], tokenizer, each=each
        )
        for domain in DOMAINS
    }


def cut(texts: Sequence[str], tokenizer: Any, *, each: int) -> Windows:
    """Cut at most `each` windows from the beginning of each text."""
    rows: list[list[int]] = []
    documents: list[int] = []
    for number, text in enumerate(texts):
        ids = [tokenizer.eos_token_id, *tokenizer.encode(text)]
        starts = range(0, len(ids), CONTEXT - 1)
        pieces = [ids[start : start + CONTEXT] for start in starts[:each]]
        pieces = [piece for piece in pieces if len(piece) >= _SHORTEST]
        rows += pieces
        documents += [number] * len(pieces)
    tokens = torch.full((len(rows), CONTEXT), int(tokenizer.eos_token_id))
    for row, ids in enumerate(rows):
        tokens[row, : len(ids)] = torch.tensor(ids)
    return Windows(
        tokens=tokens,
        lengths=torch.tensor([len(ids) for ids in rows]),
        documents=torch.tensor(documents),
    )
