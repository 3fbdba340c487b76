"""The table of worlds."""

from __future__ import annotations

from emo_prune.errors import UnknownTask
from emo_prune.worlds.almanac import CALENDAR
from emo_prune.worlds.arithmetic import ARITHMETIC
from emo_prune.worlds.chess import CHESS
from emo_prune.worlds.cooking import COOKING
from emo_prune.worlds.genetics import GENETICS
from emo_prune.worlds.kinship import KINSHIP
from emo_prune.worlds.logic import LOGIC
from emo_prune.worlds.physics import PHYSICS
from emo_prune.worlds.sql import SQL
from emo_prune.worlds.units import UNITS
from emo_prune.worlds.world import World

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
