"""A world: facts that belong together, and the way its texts are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from benchmarks.worlds.facts import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A small made-up world; `prose` writes a text that states some of its facts."""

    name: str
    about: str
    facts: tuple[Facts, ...]
    prose: Callable[[Random], str]


def statements(
    rng: Random, facts: Sequence[Facts], *, words: int, start: str = ""
) -> list[str]:
    """Return `start` and then statements, until there are that many words.

    Facts of one kind come up as often as there are rows of them.
    """
    weights = [len(kind.rows) for kind in facts]
    parts = [start] if start else []
    written = len(start.split())
    while written < words:
        (kind,) = rng.choices(facts, weights)
        parts.append(kind.state(rng))
        written += len(parts[-1].split())
    return parts
