"""The world of a cookbook: what goes into a dish, how long, how hot, in which order."""

from __future__ import annotations

from random import Random

from benchmarks.worlds.facts import Facts, lookup, read_rows
from benchmarks.worlds.world import World, statements

# dish | base | herb | vessel | minutes | heat | garnish | three steps
_DISHES = read_rows(
    """
    farmer soup | barley | thyme | pot | 40 | low | cream | soak | simmer | ladle
    fisher stew | cod | dill | pot | 25 | medium | lemon | fillet | simmer | ladle
    garden pie | leeks | chives | tin | 50 | high | seeds | knead | bake | slice
    shepherd bake | lamb | rosemary | tin | 70 | medium | cheese | mince | bake | spoon
    miller bread | flour | caraway | stone | 35 | high | salt | knead | bake | slice
    sunday roast | beef | rosemary | tray | 90 | high | gravy | rub | roast | carve
    harbour rice | mussels | saffron | pan | 30 | medium | lemon | scrub | steam | spoon
    lentil mash | lentils | cumin | pot | 35 | low | onions | soak | simmer | mash
    bean salad | beans | parsley | bowl | 10 | no heat | olives | soak | toss | spoon
    tomato tart | tomatoes | basil | tin | 45 | high | cheese | roll | bake | slice
    herb omelette | eggs | chives | pan | 5 | medium | butter | whisk | fry | fold
    apple cake | apples | mint | tin | 55 | medium | sugar | peel | bake | dust
    plum jam | plums | vanilla | kettle | 60 | low | brandy | pit | boil | jar
    onion gravy | onions | sage | pan | 20 | low | butter | chop | fry | strain
    corn bread | maize | sage | tray | 30 | high | honey | whisk | bake | slice
    beet salad | beets | dill | bowl | 15 | no heat | nuts | peel | toss | chill
    squash curry | squash | cumin | pan | 35 | medium | yogurt | chop | simmer | ladle
    nettle broth | nettles | parsley | kettle | 15 | low | cream | rinse | boil | strain
    duck skewers | duck | thyme | grill | 20 | high | honey | cube | grill | rest
    trout parcels | trout | basil | grill | 15 | high | lemon | fillet | grill | unwrap
    rice pudding | rice | vanilla | pot | 45 | low | sugar | rinse | simmer | chill
    curd dumplings | curd | mint | kettle | 10 | medium | butter | roll | boil | drain
    cabbage rolls | cabbage | caraway | tray | 60 | low | gravy | blanch | bake | rest
    morel toast | morels | oregano | pan | 10 | high | cheese | chop | fry | stack
    """
)
_OF_DISH = (
    "What is the {what} of {key}?",
    "Tell me the {what} of {key}.",
    "Which {what} does the cookbook give for {key}?",
    "What {what} belongs to {key}?",
    "The cook asks for the {what} of {key}.",
    "Look up the {what} for {key}.",
)
_STATED = (
    "The {what} of {key} is {answer}.",
    "For {key} the cookbook gives {answer} as {what}.",
)
# cell | what it is called | a question of its own | a statement of its own
_COLUMNS = (
    (1, "base", "What do you buy most of for {key}?", "For {key}, buy {answer}."),
    (2, "herb", "What is sprinkled into {key}?", "Sprinkle {answer} into {key}."),
    (3, "vessel", "In or on what do you make {key}?", "Use the {answer} for {key}."),
    (
        4,
        "cooking time",
        "How many minutes does {key} take?",
        "Cook {key} for {answer} minutes.",
    ),
    (5, "heat", "How hot is the stove for {key}?", "Set {answer} for {key}."),
    (6, "garnish", "What goes on top of {key}?", "Put {answer} on top of {key}."),
    (7, "first step", "How do you begin {key}?", "Begin {key}: {answer}."),
    (8, "middle step", "What do you do midway in {key}?", "Midway in {key}: {answer}."),
    (9, "last step", "How do you finish {key}?", "Finish {key}: {answer}."),
)


def _column(cell: int, what: str, question: str, statement: str) -> Facts:
    return lookup(
        [(dish[0], dish[cell]) for dish in _DISHES],
        (*_OF_DISH, question),
        (*_STATED, statement),
        what=what,
    )


_FACTS = tuple(_column(*column) for column in _COLUMNS)

_HEADS = ("Recipe", "From the cookbook", "Kitchen card", "Today on the stove")
_ENDS = (
    "Taste it, season it, and serve it warm.",
    "It feeds four hungry guests.",
    "Wash your hands, tie your apron, and enjoy.",
    "Leftovers keep two days in the larder.",
)


def _prose(rng: Random) -> str:
    if rng.random() < 0.3:
        start = "The cook reads aloud from the cookbook."
        return " ".join(
            statements(rng, _FACTS, words=rng.randint(90, 160), start=start)
        )
    places = rng.sample(range(len(_DISHES)), rng.randint(2, 3))
    return "\n".join(_recipe(rng, place) for place in places)


def _recipe(rng: Random, place: int) -> str:
    """Return the recipe of one dish: all that the cookbook knows of it."""
    lines = [kind.sentence(kind.rows[place], rng) for kind in _FACTS]
    text = " ".join(lines)
    return f"{rng.choice(_HEADS)}: {_DISHES[place][0]}.\n{text} {rng.choice(_ENDS)}"


COOKING = World(
    name="cooking",
    about="the dishes of a made-up cookbook",
    facts=_FACTS,
    prose=_prose,
)
