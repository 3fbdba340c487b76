"""The world of the chess board: squares, pieces, openings."""

from __future__ import annotations

from random import Random

from benchmarks.worlds.facts import Fact, Facts, lookup, read_rows
from benchmarks.worlds.world import World, statements

_FILES = "abcdefgh"
_STRAIGHT = {"up": (0, 1), "down": (0, -1), "left": (-1, 0), "right": (1, 0)}
_DIAGONAL = {
    f"{up} and {side}": (_STRAIGHT[side][0], _STRAIGHT[up][1])
    for up in ("up", "down")
    for side in ("left", "right")
}

# opening | White's first move | Black's reply | kind | name of the idea
_OPENINGS = read_rows(
    """
    Sicilian Defence | e4 | c5 | semi-open | queenside pressure
    French Defence | e4 | e6 | semi-open | a pawn chain
    Caro-Kann Defence | e4 | c6 | semi-open | a solid centre
    Scandinavian Defence | e4 | d5 | semi-open | an early queen
    Alekhine Defence | e4 | Nf6 | semi-open | a lure of pawns
    Pirc Defence | e4 | d6 | semi-open | a late strike
    Italian Game | e4 | e5 | open | a quick castle
    Spanish Game | e4 | e5 | open | a long siege
    Scotch Game | e4 | e5 | open | an open centre
    King's Gambit | e4 | e5 | open | a pawn offer
    Vienna Game | e4 | e5 | open | a kingside attack
    Queen's Gambit | d4 | d5 | closed | a pawn offer
    Slav Defence | d4 | d5 | closed | a solid centre
    Dutch Defence | d4 | f5 | closed | a kingside attack
    Benoni Defence | d4 | c5 | closed | queenside pressure
    Nimzo Defence | d4 | Nf6 | closed | a bishop pin
    London System | d4 | d5 | closed | a pawn chain
    English Opening | c4 | e5 | flank | a late strike
    Reti Opening | Nf3 | d5 | flank | a lure of pawns
    Bird Opening | f4 | d5 | flank | a kingside attack
    Larsen Opening | b3 | e5 | flank | a long diagonal
    Polish Opening | b4 | e5 | flank | queenside pressure
    """
)
# piece | letter | worth in pawns | how it goes
_PIECES = read_rows(
    """
    king | K | everything | one step any way
    queen | Q | nine | any straight or slanting line
    rook | R | five | along ranks and files
    bishop | B | three and a bit | along slanting lines
    knight | N | three | two and one aside
    pawn | no letter | one | straight ahead
    """
)
_HOMES = {
    "queen's rook": "a",
    "queen's knight": "b",
    "queen's bishop": "c",
    "queen": "d",
    "king": "e",
    "king's bishop": "f",
    "king's knight": "g",
    "king's rook": "h",
}


def _square(file: int, rank: int) -> str:
    return f"{_FILES[file]}{rank + 1}"


def _around(file: int, rank: int) -> dict[tuple[int, int], str]:
    """Return the squares a king could step to, by direction."""
    ways = (*_STRAIGHT.values(), *_DIAGONAL.values())
    return {
        (x, y): _square(file + x, rank + y)
        for x, y in ways
        if 0 <= file + x < 8 and 0 <= rank + y < 8
    }


def _near(file: int, rank: int) -> tuple[str, ...]:
    """Return the squares at most two steps away."""
    return tuple(
        _square(x, y)
        for x in range(max(file - 2, 0), min(file + 3, 8))
        for y in range(max(rank - 2, 0), min(rank + 3, 8))
        if (x, y) != (file, rank)
    )


def _steps(ways: dict[str, tuple[int, int]]) -> tuple[Fact, ...]:
    return tuple(
        Fact(
            {"key": _square(file, rank), "way": way},
            around[step],
            _near(file, rank),
        )
        for file in range(8)
        for rank in range(8)
        for around in (_around(file, rank),)
        for way, step in ways.items()
        if step in around
    )


_STEPS = Facts(
    rows=_steps(_STRAIGHT),
    questions=(
        "Which square is one step {way} from {key}?",
        "The king steps {way} from {key} to which square?",
        "A rook goes one square {way} from {key} and lands where?",
        "The queen slides one square {way} from {key} to where?",
    ),
    statements=(
        "One step {way} from {key} is {answer}.",
        "The king steps {way} from {key} to {answer}.",
        "A rook goes one square {way} from {key} and lands on {answer}.",
        "The queen slides one square {way} from {key} to {answer}.",
    ),
)
_SLANTS = Facts(
    rows=_steps(_DIAGONAL),
    questions=("A bishop goes one square {way} from {key} to where?",),
    statements=("A bishop goes one square {way} from {key} to {answer}.",),
)
_STARTS = lookup(
    [
        (f"{side} {piece}", f"{file}{rank}")
        for side, rank in (("White", 1), ("Black", 8))
        for piece, file in _HOMES.items()
    ],
    (
        "Where does the {key} start?",
        "On which square stands the {key} before the first move?",
        "What is the home square of the {key}?",
        "Set up the board: where goes the {key}?",
        "Name the first square of the {key}.",
    ),
    (
        "The {key} starts on {answer}.",
        "Before the first move the {key} stands on {answer}.",
        "The home square of the {key} is {answer}.",
    ),
)
_OF_PIECE = (
    "What is the {what} of the {key}?",
    "Tell me the {what} of a {key}.",
    "Every player knows which {what} of the {key}?",
    "Give the {what} of the piece called {key}.",
)
_OF_OPENING = (
    "What is the {what} of the {key}?",
    "Tell me the {what} of the {key}.",
    "Which {what} belongs to the {key}?",
    "Give the {what} in the {key}.",
    "What {what} do players learn for the {key}?",
)
_STATED = (
    "The {what} of the {key} is {answer}.",
    "Of the {key} the {what} is {answer}.",
)
_ABOUT_PIECES = tuple(
    lookup(
        [(piece[0], piece[cell]) for piece in _PIECES], _OF_PIECE, _STATED, what=what
    )
    for cell, what in ((1, "letter"), (2, "worth"), (3, "way of going"))
)
_ABOUT_OPENINGS = tuple(
    lookup(
        [(opening[0], opening[cell]) for opening in _OPENINGS],
        _OF_OPENING,
        _STATED,
        what=what,
    )
    for cell, what in (
        (1, "first move"),
        (2, "reply"),
        (3, "family"),
        (4, "idea"),
    )
)
_FACTS = (_STEPS, _SLANTS, _STARTS, *_ABOUT_PIECES, *_ABOUT_OPENINGS)

_EVENTS = (
    "Club night",
    "A game by post",
    "Blitz in the park",
    "The old champion plays",
)
_MARKS = ("!", "?", "!?", "", "", "")


def _prose(rng: Random) -> str:
    if rng.random() < 0.4:
        start = "Notes for the chess board, seen from the side of White."
        return " ".join(
            statements(rng, _FACTS, words=rng.randint(90, 180), start=start)
        )
    return _game(rng)


def _game(rng: Random) -> str:
    """Return an opening with notes, then the walk of a piece over the board."""
    opening = rng.choice(_OPENINGS)
    notes = [
        kind.sentence(row, rng)
        for kind in _ABOUT_OPENINGS
        for row in kind.rows
        if row.fields["key"] == opening[0]
    ]
    notes += [kind.state(rng) for kind in rng.choices((_STARTS, *_ABOUT_PIECES), k=3)]
    moves = f"1. {opening[1]}{rng.choice(_MARKS)} {opening[2]}{rng.choice(_MARKS)}"
    walks = [_walk(rng) for _ in range(rng.randint(1, 2))]
    return "\n".join(
        (f"{rng.choice(_EVENTS)}: {opening[0]}.", moves, " ".join(notes), *walks)
    )


def _walk(rng: Random) -> str:
    """Return steps from square to square, each from where the last one ended."""
    square, told = rng.choice(_STEPS.rows).answer, []
    for _ in range(rng.randint(6, 9)):
        kind = rng.choice((_STEPS, _STEPS, _SLANTS))
        row = rng.choice([row for row in kind.rows if row.fields["key"] == square])
        told.append(kind.sentence(row, rng))
        square = row.answer
    return " ".join(told)


CHESS = World(
    name="chess",
    about="squares of the board, pieces and openings",
    facts=_FACTS,
    prose=_prose,
)
