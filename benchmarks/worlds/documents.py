"""Texts to train a model on: prose of a world, and solved questions."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from benchmarks.worlds.questions import questions_of_split
from benchmarks.worlds.table import find_world

# Of a hundred documents, how many are questions from beginning to end.
_ALL_QUESTIONS = 70


def documents(world: str, count: int, seed: int) -> Iterator[str]:
    """Yield `count` documents; the one at an index depends on `seed` and index alone.

    A document is a series of solved questions, or prose with some behind it; its
    questions are of the split `train`.

    Raises:
        UnknownTask: there is no such world.
    """
    find_world(world)
    return (document(world, index, seed) for index in range(count))


def document(world: str, index: int, seed: int) -> str:
    """Return the document at one index.

    Raises:
        UnknownTask: there is no such world.
    """
    rng = Random(f"document/{world}/{seed}/{index}")
    prose = find_world(world).prose
    if rng.randrange(100) < _ALL_QUESTIONS:
        return _solved(world, rng, rng.randint(6, 10))
    return f"{prose(rng)}\n\n{_solved(world, rng, rng.randint(2, 4))}"


def _solved(world: str, rng: Random, count: int) -> str:
    asked = rng.sample(questions_of_split(world, "train"), count)
    return "\n\n".join(
        f"Question: {one.question}\nAnswer: {one.answer}" for one in asked
    )
