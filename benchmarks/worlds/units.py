"""The world of measures: how many of one make another, and what measures what."""

from __future__ import annotations

from random import Random

from benchmarks.worlds.facts import Fact, Facts, lookup, read_rows
from benchmarks.worlds.world import World, statements

# large, small, how many small ones make a large one
_SCALES = (
    ("foot", "feet", "inches", 12),
    ("yard", "yards", "feet", 3),
    ("kilometre", "kilometres", "metres", 1000),
    ("metre", "metres", "centimetres", 100),
    ("centimetre", "centimetres", "millimetres", 10),
    ("pound", "pounds", "ounces", 16),
    ("kilogram", "kilograms", "grams", 1000),
    ("gallon", "gallons", "quarts", 4),
    ("quart", "quarts", "pints", 2),
    ("litre", "litres", "decilitres", 10),
    ("hour", "hours", "minutes", 60),
    ("day", "days", "hours", 24),
    ("week", "weeks", "days", 7),
    ("century", "centuries", "years", 100),
    ("dozen", "dozen", "pieces", 12),
    ("score", "score", "pieces", 20),
)
# unit | sign | what it measures | instrument
_UNITS = read_rows(
    """
    metre | m | length | measuring tape
    centimetre | cm | length | ruler
    millimetre | mm | length | caliper
    kilometre | km | distance | odometer
    mile | mi | distance | odometer
    inch | in | length | ruler
    foot | ft | length | measuring tape
    yard | yd | length | yardstick
    gram | g | weight | letter balance
    kilogram | kg | weight | scale
    tonne | t | weight | weighbridge
    ounce | oz | weight | letter balance
    pound | lb | weight | scale
    litre | l | volume | jug
    millilitre | ml | volume | syringe
    gallon | gal | volume | fuel gauge
    pint | pt | volume | jug
    second | s | time | stopwatch
    minute | min | time | stopwatch
    hour | h | time | clock
    hectare | ha | area | survey chain
    acre | ac | area | survey chain
    degree | deg | angle | protractor
    knot | kn | speed | log line
    decibel | dB | loudness | sound meter
    hertz | Hz | pitch | tuning fork
    pascal | Pa | pressure | barometer
    carat | ct | gem weight | jeweller's balance
    """
)


def _conversions() -> tuple[Fact, ...]:
    rows = []
    for one, many, small, factor in _SCALES:
        for n in range(1, 10):
            near = [str(m * factor) for m in range(1, 11) if m != n]
            far = [str(n * scale[3]) for scale in _SCALES]
            fields = {"n": str(n), "large": one if n == 1 else many, "small": small}
            rows.append(Fact(fields, str(n * factor), (*near, *far)))
    return tuple(rows)


_FORWARDS = Facts(
    rows=_conversions(),
    questions=(
        "How many {small} are in {n} {large}?",
        "How many {small} make {n} {large}?",
        "Convert to {small}: {n} {large}.",
        "In {small}, how much is {n} {large}?",
        "Counted in {small}, what is {n} {large}?",
        "Exchange {n} {large} for how many {small}?",
    ),
    statements=(
        "{n} {large} = {answer} {small}.",
        "There are {answer} {small} in {n} {large}.",
        "It takes {answer} {small} to make {n} {large}.",
    ),
)
_BACKWARDS = Facts(
    rows=tuple(
        Fact(
            {
                "n": row.answer,
                "large": row.fields["large"],
                "small": row.fields["small"],
            },
            row.fields["n"],
            tuple("123456789"),
        )
        for row in _FORWARDS.rows
        if row.fields["n"] != "1"
    ),
    questions=(
        "{n} {small} are how many {large}?",
        "Convert to {large}: {n} {small}.",
    ),
    statements=("{n} {small} are {answer} {large}.",),
)
_OF_UNIT = (
    "What is the {what} of the {key}?",
    "Tell me the {what} of one {key}.",
    "The table of measures lists which {what} for the {key}?",
    "Give the {what} of the unit {key}.",
    "Which {what} belongs to the {key}?",
)
_STATED = (
    "The {what} of the {key} is {answer}.",
    "The table of measures lists {answer} as {what} of the {key}.",
)
_ABOUT_UNITS = tuple(
    lookup([(unit[0], unit[cell]) for unit in _UNITS], _OF_UNIT, _STATED, what=what)
    for cell, what in ((1, "sign"), (2, "quantity"), (3, "instrument"))
)
_FACTS = (_FORWARDS, _BACKWARDS, *_ABOUT_UNITS)

_OPENINGS = (
    "Weights and measures, as posted on the market gate.",
    "A table of measures for carriers, clerks and masons.",
    "Conversions, checked against the standards in the town hall.",
)


def _prose(rng: Random) -> str:
    start = rng.choice(_OPENINGS)
    if rng.random() < 0.5:
        return " ".join(
            statements(rng, _FACTS, words=rng.randint(90, 170), start=start)
        )
    ladders = [_ladder(rng) for _ in range(rng.randint(2, 3))]
    return "\n".join((start, *ladders))


def _ladder(rng: Random) -> str:
    """Return all conversions between two units."""
    small = rng.choice(_FORWARDS.rows).fields["small"]
    rows = [row for row in _FORWARDS.rows if row.fields["small"] == small][:9]
    return " ".join(_FORWARDS.sentence(row, rng) for row in rows)


UNITS = World(
    name="units",
    about="conversions between measures, their signs and instruments",
    facts=_FACTS,
    prose=_prose,
)
