"""The world of one clan: who is whose, where they live, and the words for kin."""

from __future__ import annotations

from itertools import permutations
from random import Random

from benchmarks.worlds.facts import Fact, Facts, lookup, read_rows, read_words
from benchmarks.worlds.world import World, statements

# father | mother | their children, eldest first
_COUPLES = read_rows(
    """
    Osric | Maud | Tobias Edda Runa
    Anselm | Greta | Hilda Ivo Bram
    Conrad | Petra | Lorenz Selma Nils
    Dietmar | Wilma | Klara Arne Judith
    Tobias | Hilda | Finn Lotte Maren
    Ivo | Edda | Sven Tilda
    Lorenz | Klara | Oskar Frieda Birgit
    Arne | Selma | Emil Astrid
    Bram | Runa | Jonas Vera
    Nils | Judith | Kaspar Ida Lena
    """
)
_CHILDREN = {father: children.split() for father, _, children in _COUPLES}
_FATHERS = {child: row[0] for row in _COUPLES for child in row[2].split()}
_MOTHERS = {child: row[1] for row in _COUPLES for child in row[2].split()}
_SPOUSES = {a: b for row in _COUPLES for a, b in permutations(row[:2])}
_PEOPLE = (*dict.fromkeys((*_SPOUSES, *_FATHERS)),)
_HOMES = (
    "Elmford", "Highmoor", "Saltby", "Quarrydale", "Foxhollow", "Millbrook", "Thornwick"
)  # fmt: skip
_TRADES = read_words(
    "baker weaver smith miller teacher tailor potter sailor farmer carpenter doctor"
)

# a relative of a relative | the word for it
_TERMS = read_rows(
    """
    mother's mother | grandmother
    father's mother | grandmother
    mother's father | grandfather
    father's father | grandfather
    mother's brother | uncle
    father's brother | uncle
    mother's sister | aunt
    father's sister | aunt
    uncle's son | cousin
    uncle's daughter | cousin
    aunt's son | cousin
    aunt's daughter | cousin
    brother's son | nephew
    sister's son | nephew
    brother's daughter | niece
    sister's daughter | niece
    son's son | grandson
    daughter's son | grandson
    son's daughter | granddaughter
    daughter's daughter | granddaughter
    wife's mother | mother-in-law
    husband's mother | mother-in-law
    wife's father | father-in-law
    husband's father | father-in-law
    son's wife | daughter-in-law
    daughter's husband | son-in-law
    brother's wife | sister-in-law
    sister's husband | brother-in-law
    wife's brother | brother-in-law
    husband's brother | brother-in-law
    wife's sister | sister-in-law
    husband's sister | sister-in-law
    mother's husband | father
    father's wife | mother
    mother's son | brother
    father's son | brother
    mother's daughter | sister
    father's daughter | sister
    uncle's wife | aunt
    aunt's husband | uncle
    """
)

_OF_PERSON = (
    "Who is the {what} of {key}?",
    "Tell me the {what} of {key}.",
    "In the clan, who is the {what} of {key}?",
    "Name the {what} of {key}.",
    "The family book gives which {what} for {key}?",
    "Among the kin, find the {what} of {key}.",
)
_STATED = (
    "{answer} is the {what} of {key}.",
    "The {what} of {key} is {answer}.",
    "The family book gives {answer} as {what} of {key}.",
)


def _relation(what: str, pairs: list[tuple[str, str]]) -> Facts:
    return lookup(pairs, _OF_PERSON, _STATED, what=what)


_RELATIONS = (
    _relation("father", list(_FATHERS.items())),
    _relation("mother", list(_MOTHERS.items())),
    _relation("spouse", list(_SPOUSES.items())),
    _relation(
        "eldest child",
        [(p, kids[0]) for f, kids in _CHILDREN.items() for p in (f, _SPOUSES[f])],
    ),
    _relation(
        "youngest child",
        [(p, kids[-1]) for f, kids in _CHILDREN.items() for p in (f, _SPOUSES[f])],
    ),
    *(
        _relation(
            f"{side} {word}",
            [(c, up[p]) for c, p in parents.items() if p in up],
        )
        for side, parents in (("paternal", _FATHERS), ("maternal", _MOTHERS))
        for word, up in (("grandfather", _FATHERS), ("grandmother", _MOTHERS))
    ),
)
_LIVES = lookup(
    [(name, _HOMES[place * 5 % 7]) for place, name in enumerate(_PEOPLE)],
    (
        "Where does {key} live?",
        "In which village is the house of {key}?",
        "The family book gives which village for {key}?",
        "Letters for kin: to which village goes one for {key}?",
    ),
    ("{key} lives in {answer}.", "The house of {key} is in {answer}."),
)
_WORKS = lookup(
    [(name, _TRADES[place * 7 % 11]) for place, name in enumerate(_PEOPLE)],
    (
        "What is the trade of {key}?",
        "How does {key} earn a living?",
        "The family book gives which trade for {key}?",
        "Among the kin, what is the work of {key}?",
    ),
    ("{key} is a {answer}.", "The trade of {key} is {answer}."),
)
_WORDS = lookup(
    _TERMS,
    (
        "What do you call your {key}?",
        "What kin to you is your {key}?",
        "Your {key} is your what?",
        "Which word is used for your {key}?",
        "The family book calls your {key} what?",
    ),
    ("Your {key} is your {answer}.", "The family book calls your {key} your {answer}."),
)
_GUESTS = read_words("Ann Ben Cara Dan Eve Gus Hal Kim")


def _told() -> tuple[Fact, ...]:
    """Return facts told in the question itself, about people from elsewhere."""
    rows = []
    for place, (a, b, c, d) in enumerate(permutations(_GUESTS, 4)):
        if place % 14 == 0:
            one, other = (("son", "aunt"), ("niece", "uncle"))[place % 4 // 2]
            fields = {"a": a, "b": b, "c": c, "d": d, "one": one, "other": other}
            rows.append(Fact(fields, a, (b, c, d)))
    return tuple(rows)


_TOLD = Facts(
    rows=_told(),
    questions=(
        "{a} is the {one} of {b} and {c} is the {other} of {d}. "
        "Who is the {one} of {b}?",
        "{d} is the {other} of {c} and {a} is the {one} of {b}. "
        "Who is the {one} of {b}?",
    ),
    statements=("Guests came: {a}, who is the {one} of {b}.",),
)
_FACTS = (*_RELATIONS, _LIVES, _WORKS, _WORDS, _TOLD)

_OPENINGS = (
    "From the family book of the clan.",
    "Grandmother tells who is who at the long table.",
    "Names to know before the family feast.",
)


def _prose(rng: Random) -> str:
    start = rng.choice(_OPENINGS)
    if rng.random() < 0.4:
        kinds = _FACTS[:-1]
        return " ".join(statements(rng, kinds, words=rng.randint(90, 170), start=start))
    people = rng.sample(_PEOPLE, rng.randint(3, 4))
    return "\n".join((start, *(_life(rng, person) for person in people)))


def _life(rng: Random, person: str) -> str:
    """Return all that the family book says of one person."""
    return " ".join(
        kind.sentence(row, rng)
        for kind in (*_RELATIONS, _LIVES, _WORKS)
        for row in kind.rows
        if row.fields["key"] == person
    )


KINSHIP = World(
    name="kinship",
    about="the people of a made-up clan, and the words for kin",
    facts=_FACTS,
    prose=_prose,
)
