"""Four-way questions: which of four continuations belongs to a piece of a document?

The wrong ones come from other documents of the same domain, so that knowing the domain
does not answer; what a model needs is the passage's own subject and style.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROMPT = 96  # tokens
CONTINUATION = 24
CHOICES = 4


def write_questions(
    file: Path, texts: Sequence[str], tokenizer: Any, *, count: int, seed: int
) -> int:
    """Write the rows that `emo-prune eval --examples` scores; return how many.

    Passages begin anywhere in a document: its first lines are often a heading or a
    licence, the same in many. Documents take turns until there are `count` questions.
    """
    rng = random.Random(seed)
    usable = [
        (text, offsets)
        for text in texts
        if len(offsets := token_starts(text, tokenizer)) > PROMPT + CONTINUATION
    ]
    rows = [
        json.dumps(question(usable, number % len(usable), rng))
        for number in range(count)
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return len(rows)


def question(
    documents: Sequence[tuple[str, Sequence[int]]], right: int, rng: random.Random
) -> dict[str, Any]:
    """Return one question on the document `right`."""
    prompt, completion = passage(*documents[right], rng)
    others = rng.sample([n for n in range(len(documents)) if n != right], CHOICES - 1)
    choices = [passage(*documents[number], rng)[1] for number in others]
    answer = rng.randrange(CHOICES)
    choices.insert(answer, completion)
    return {
        "prompt": prompt,
        "completion": completion,
        "choices": choices,
        "answer": answer,
    }


def passage(text: str, starts: Sequence[int], rng: random.Random) -> tuple[str, str]:
    """Return a piece of a document, and how it goes on."""
    begin = rng.randrange(len(starts) - PROMPT - CONTINUATION)
    middle, end = begin + PROMPT, begin + PROMPT + CONTINUATION
    return text[starts[begin] : starts[middle]], text[starts[middle] : starts[end]]


def token_starts(text: str, tokenizer: Any) -> list[int]:
    """Return at which character each token begins, where a new character does.

    Several tokens can share a character that takes several bytes.
    """
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    return sorted({int(start) for start, _ in offsets})
