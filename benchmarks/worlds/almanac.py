"""The world of days and months: what follows what, and the feasts of the year."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from benchmarks.worlds.facts import Fact, Facts, lookup, read_rows, read_words
from benchmarks.worlds.world import World, statements

_DAYS = read_words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
_MONTHS = read_words(
    "January February March April May June July August September October November "
    "December"
)
_COUNTS = ("one", "two", "three", "four", "five", "six")
_RANKS = read_words(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
)
_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_SEASONS = ("winter", "spring", "summer", "autumn")
_STONES = read_words(
    "garnet amethyst aquamarine diamond emerald pearl ruby peridot sapphire opal topaz "
    "turquoise"
)

# feast | month | day | what people do
_FEASTS = read_rows(
    """
    Lantern Night | January | 6 | light lanterns
    Ice Fair | January | 19 | skate
    Candle Eve | February | 2 | light candles
    Mask Parade | February | 24 | wear masks
    Seed Day | March | 8 | sow seeds
    Kite Day | March | 21 | fly kites
    Rain Supper | April | 11 | eat soup
    Egg Hunt | April | 17 | paint eggs
    Blossom Dance | May | 1 | dance
    Shepherd Day | May | 25 | shear sheep
    Rose Sunday | June | 9 | wear roses
    Midsummer Fire | June | 23 | light fires
    Harbour Day | July | 4 | row boats
    Bell Week | July | 15 | ring bells
    Honey Day | August | 3 | bake bread
    Star Watch | August | 12 | watch stars
    Harvest Home | September | 20 | dance
    Apple Day | September | 29 | press apples
    Fog Walk | October | 13 | walk
    Pumpkin Night | October | 31 | carve pumpkins
    Hearth Day | November | 7 | eat soup
    Goose Supper | November | 11 | roast geese
    Snow Vigil | December | 5 | ring bells
    Year Watch | December | 30 | watch stars
    """
)


def _steps(names: Sequence[str], counts: Sequence[str], sign: int) -> tuple[Fact, ...]:
    return tuple(
        Fact(
            {"key": name, "n": count, "s": "" if count == "one" else "s"},
            names[(place + sign * steps) % len(names)],
        )
        for place, name in enumerate(names)
        for steps, count in enumerate(counts, start=1)
    )


def _moves(names: Sequence[str], unit: str, counts: Sequence[str]) -> tuple[Facts, ...]:
    """Return the facts of going some steps forwards, and backwards."""
    return tuple(
        Facts(
            rows=_steps(names, counts, sign),
            questions=(
                f"Which {unit} is {{n}} {unit}{{s}} {side} {{key}}?",
                f"What {unit} comes {{n}} {unit}{{s}} {side} {{key}}?",
                f"Count {{n}} {unit}{{s}} {way} from {{key}}.",
                f"Name the {unit} that is {{n}} {unit}{{s}} {side} {{key}}.",
            ),
            statements=(
                f"It is {{answer}} {{n}} {unit}{{s}} {side} {{key}}.",
                f"Count {{n}} {unit}{{s}} {way} from {{key}} and reach {{answer}}.",
                f"{{answer}} is {{n}} {unit}{{s}} {side} {{key}}.",
            ),
        )
        for side, way, sign in (("after", "on", 1), ("before", "back", -1))
    )


_OF_FEAST = (
    "What is the {what} of {key}?",
    "Tell me the {what} of {key}.",
    "What does the almanac give as {what} of {key}?",
    "The almanac names which {what} for {key}?",
    "Give the {what} of the feast {key}.",
)
_OF_MONTH = (
    "What is the {what} of {key}?",
    "Tell me the {what} of {key}.",
    "What does the almanac give as {what} of {key}?",
    "Of the month {key}, what is the {what}?",
    "Give the {what} of the month {key}.",
)
_STATED = (
    "The {what} of {key} is {answer}.",
    "The almanac gives {answer} as {what} of {key}.",
)
_WALKS = (*_moves(_DAYS, "day", _COUNTS), *_moves(_MONTHS, "month", _COUNTS[:4]))
_ABOUT_FEASTS = (
    lookup(
        [(feast[0], feast[1]) for feast in _FEASTS],
        (*_OF_FEAST, "In which month is {key}?", "Which month brings {key}?"),
        (*_STATED, "{key} is in {answer}.", "{answer} brings {key}."),
        what="month",
    ),
    lookup(
        [(feast[0], feast[2]) for feast in _FEASTS],
        (*_OF_FEAST, "On which day of its month is {key}?"),
        (*_STATED, "{key} falls on day {answer} of its month."),
        what="date",
    ),
    lookup(
        [(feast[0], feast[3]) for feast in _FEASTS],
        (*_OF_FEAST, "What do people do on {key}?", "How is {key} kept?"),
        (*_STATED, "On {key} people {answer}."),
        what="custom",
    ),
)
_ABOUT_MONTHS = (
    lookup(zip(_MONTHS, _STONES, strict=True), _OF_MONTH, _STATED, what="stone"),
    lookup(zip(_MONTHS, _RANKS, strict=True), _OF_MONTH, _STATED, what="rank"),
    lookup(
        [(month, _SEASONS[(i + 1) // 3 % 4]) for i, month in enumerate(_MONTHS)],
        _OF_MONTH,
        _STATED,
        what="season",
    ),
    lookup(
        zip(_MONTHS, map(str, _LENGTHS), strict=True),
        (*_OF_MONTH, "How many days has {key}?", "How long is {key} in days?"),
        (*_STATED, "{key} has {answer} days."),
        pool=("28", "29", "30", "31"),
        what="length",
    ),
)
_FACTS = (*_WALKS, *_ABOUT_FEASTS, *_ABOUT_MONTHS)

_OPENINGS = (
    "From the almanac of the town.",
    "The year turns, and the almanac tells its days.",
    "Notes on the calendar, for those who forget the date.",
)


def _prose(rng: Random) -> str:
    start = rng.choice(_OPENINGS)
    if rng.random() < 0.5:
        return " ".join(
            statements(rng, _FACTS, words=rng.randint(90, 180), start=start)
        )
    months = rng.sample(range(12), rng.randint(2, 3))
    return "\n".join((start, *(_month(rng, place) for place in months)))


def _month(rng: Random, place: int) -> str:
    """Return the paragraph of the almanac for one month."""
    month = _MONTHS[place]
    own = {feast[0] for feast in _FEASTS if feast[1] == month} | {month}
    kinds = (*_ABOUT_MONTHS, *_ABOUT_FEASTS)
    told = [
        kind.sentence(row, rng)
        for kind in kinds
        for row in kind.rows
        if row.fields["key"] in own
    ]
    return f"{month}. {' '.join(told)}"


CALENDAR = World(
    name="calendar",
    about="the order of days and months, and the feasts of a made-up year",
    facts=_FACTS,
    prose=_prose,
)
