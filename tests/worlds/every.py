"""All questions of a world, over all splits."""

from __future__ import annotations

from functools import cache

from benchmarks.worlds import SPLITS, Question, Split, count_questions, questions


def of_split(world: str, split: Split, seed: int = 0) -> list[Question]:
    return questions(world, split, count_questions(world, split), seed)


@cache
def of_world(world: str) -> tuple[Question, ...]:
    return tuple(one for split in SPLITS for one in of_split(world, split))
