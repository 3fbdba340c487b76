"""The questions of a world, a split at a time, with four choices each."""

from __future__ import annotations

from functools import cache
from random import Random

from benchmarks.worlds.facts import Asked
from benchmarks.worlds.question import Question
from benchmarks.worlds.splits import Split, split_of
from benchmarks.worlds.table import find_world
from emo_prune.errors import DataMissing


def questions(world: str, split: Split, count: int, seed: int) -> list[Question]:
    """Return `count` different questions of a split.

    Which ones, in which order and with which wrong choices depends on `seed`.

    Raises:
        UnknownTask: there is no such world.
        DataMissing: the split holds fewer questions.
    """
    asked = questions_of_split(world, split)
    if count > len(asked):
        raise DataMissing(
            "the split of the world holds fewer questions",
            where=f"{world}, {split}",
            got=f"{count} asked for",
            expected=f"at most {len(asked)}",
            hint=f"ask for {len(asked)} or fewer",
        )
    chosen = Random(f"questions/{world}/{split}/{seed}").sample(asked, count)
    return [_with_choices(world, one, seed) for one in chosen]


def count_questions(world: str, split: Split) -> int:
    """Return how many different questions a split holds.

    Raises:
        UnknownTask: there is no such world.
    """
    return len(questions_of_split(world, split))


@cache
def questions_of_split(world: str, split: Split) -> tuple[Asked, ...]:
    """Return all questions of a split, in the order of the world's facts.

    Raises:
        UnknownTask: there is no such world.
    """
    kinds = find_world(world).facts
    every = (one for kind in kinds for one in kind.asked())
    return tuple(one for one in every if split_of(one.question) == split)


def _with_choices(world: str, asked: Asked, seed: int) -> Question:
    rng = Random(f"choices/{world}/{seed}/{asked.question}")
    choices: list[str] = []
    for choice in rng.sample(asked.pool, len(asked.pool)):
        if choice != asked.answer and choice not in choices:
            choices.append(choice)
        if len(choices) == 3:
            break
    answer = rng.randrange(4)
    choices.insert(answer, asked.answer)
    return Question(
        world=world,
        question=asked.question,
        choices=tuple(choices),
        answer=answer,
    )
