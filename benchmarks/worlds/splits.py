"""Which split a question belongs to: its text alone decides."""

from __future__ import annotations

import hashlib
from typing import Literal, get_args

Split = Literal["train", "dev", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

# In hundredths; documents hold questions of `train` alone.
_ENDS: tuple[tuple[Split, int], ...] = (
    ("train", 76),
    ("dev", 80),
    ("validation", 90),
    ("test", 100),
)


def split_of(question: str) -> Split:
    """Return the split of a question, by the SHA-256 of its text."""
    digest = hashlib.sha256(question.encode("utf-8")).digest()
    hundredth = int.from_bytes(digest[:8], "big") % 100
    return next(split for split, end in _ENDS if hundredth < end)
