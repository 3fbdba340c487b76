"""The table of worlds."""

from __future__ import annotations

from benchmarks.worlds.almanac import CALENDAR
from benchmarks.worlds.arithmetic import ARITHMETIC
from benchmarks.worlds.chess import CHESS
from benchmarks.worlds.cooking import COOKING
from benchmarks.worlds.genetics import GENETICS
from benchmarks.worlds.kinship import KINSHIP
from benchmarks.worlds.logic import LOGIC
from benchmarks.worlds.physics import PHYSICS
from benchmarks.worlds.sql import SQL
from benchmarks.worlds.units import UNITS
from benchmarks.worlds.world import World
from emo_prune.errors import UnknownTask

WORLDS: dict[str, World] = {
    world.name: world
    for world in (
        ARITHMETIC,
        CALENDAR,
        CHESS,
        COOKING,
        GENETICS,
        KINSHIP,
        LOGIC,
        PHYSICS,
        SQL,
        UNITS,
    )
}


def find_world(name: str) -> World:
    """Return the world of that name.

    Raises:
        UnknownTask: there is none.
    """
    if name not in WORLDS:
        raise UnknownTask(
            "there is no such world",
            got=repr(name),
            expected=", ".join(WORLDS),
            hint=f"name one of these, such as {next(iter(WORLDS))}",
        )
    return WORLDS[name]
