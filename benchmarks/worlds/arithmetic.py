"""The world of small numbers: sums, differences, products, doubles, neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

from benchmarks.worlds.facts import Fact, Facts, lookup
from benchmarks.worlds.world import World, statements

_PAIRS = [(a, b) for a in range(1, 11) for b in range(1, 11)]


def _pairs(
    pairs: Iterable[tuple[int, int]], result: Callable[[int, int], int]
) -> tuple[Fact, ...]:
    return tuple(Fact({"a": str(a), "b": str(b)}, str(result(a, b))) for a, b in pairs)


_SUMS = Facts(
    rows=_pairs(_PAIRS, lambda a, b: a + b),
    questions=(
        "What is {a} plus {b}?",
        "{a} + {b} = ?",
        "What is the sum of {a} and {b}?",
        "What do you get when you add {a} and {b}?",
        "Add up {a} + {b}.",
    ),
    statements=(
        "{a} + {b} = {answer}.",
        "{a} plus {b} is {answer}.",
        "The sum of {a} and {b} is {answer}.",
        "Add {a} and {b} to get {answer}.",
    ),
)
_DIFFERENCES = Facts(
    rows=_pairs([(a + b - 1, b) for a, b in _PAIRS], lambda a, b: a - b),
    questions=(
        "What is {a} minus {b}?",
        "{a} - {b} = ?",
        "What is the difference of {a} and {b}?",
        "What is left when you take {b} from {a}?",
        "Subtract: {a} - {b}.",
    ),
    statements=(
        "{a} - {b} = {answer}.",
        "{a} minus {b} is {answer}.",
        "The difference of {a} and {b} is {answer}.",
        "Take {b} from {a} and {answer} is left.",
    ),
)
_PRODUCTS = Facts(
    rows=_pairs(_PAIRS, lambda a, b: a * b),
    questions=(
        "What is {a} times {b}?",
        "{a} * {b} = ?",
        "What is the product of {a} and {b}?",
        "What do you get when you multiply {a} by {b}?",
        "Multiply: {a} * {b}.",
    ),
    statements=(
        "{a} * {b} = {answer}.",
        "{a} times {b} is {answer}.",
        "The product of {a} and {b} is {answer}.",
        "Multiply {a} by {b} to get {answer}.",
    ),
)
_DOUBLES = lookup(
    [(str(n), str(2 * n)) for n in range(1, 21)],
    ("What is double {key}?", "What is twice {key}?", "Double the number {key}."),
    ("Double {key} is {answer}.", "Twice {key} is {answer}."),
)
_HALVES = lookup(
    [(str(2 * n), str(n)) for n in range(1, 21)],
    ("What is half of {key}?", "Halve the number {key}.", "What is {key} over 2?"),
    ("Half of {key} is {answer}.", "{key} over 2 is {answer}."),
)
_AFTER = lookup(
    [(str(n), str(n + 1)) for n in range(1, 40)],
    ("Which number comes right after {key}?", "What number follows {key}?"),
    ("After {key} comes {answer}.", "The number {answer} follows {key}."),
)
_BEFORE = lookup(
    [(str(n), str(n - 1)) for n in range(1, 40)],
    ("Which number comes right before {key}?", "What number precedes {key}?"),
    ("Before {key} comes {answer}.", "The number {answer} precedes {key}."),
)
_FACTS = (_SUMS, _DIFFERENCES, _PRODUCTS, _DOUBLES, _HALVES, _AFTER, _BEFORE)

_OPENINGS = (
    "Numbers to say aloud until they are known by heart.",
    "A page of the number book, with all sums worked out.",
    "Let us count, add, subtract and multiply.",
)


def _prose(rng: Random) -> str:
    start = rng.choice(_OPENINGS)
    if rng.random() < 0.5:
        return " ".join(
            statements(rng, _FACTS, words=rng.randint(90, 180), start=start)
        )
    tables = [_table(rng) for _ in range(3)]
    return "\n".join((start, *tables))


def _table(rng: Random) -> str:
    """Return ten facts in a row, with one number that stays."""
    kind = rng.choice((_SUMS, _DIFFERENCES, _PRODUCTS))
    template = rng.choice(kind.statements)
    staying, number = rng.choice("ab"), str(rng.randint(1, 10))
    rows = [row for row in kind.rows if row.fields[staying] == number]
    return " ".join(template.format(**row.fields, answer=row.answer) for row in rows)


ARITHMETIC = World(
    name="arithmetic",
    about="sums, differences and products of small numbers",
    facts=_FACTS,
    prose=_prose,
)
