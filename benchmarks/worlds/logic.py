"""The world of inference: kinds of made-up beings, rules, forms of argument, truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from random import Random

from benchmarks.worlds.facts import Fact, Facts, lookup, read_rows, read_words
from benchmarks.worlds.world import World, statements

# genus | order | what all of it are | species
_GENERA = read_rows(
    """
    blick | torm | striped | wug dax zarn
    fendle | torm | hollow | mip quop tiv
    grolt | torm | silent | lurp nelk yib
    hasp | dondu | heavy | bof crel dund
    jorrow | dondu | winged | tessle fip gorm
    kelm | dondu | bright | hux binzo jeb
    murv | pellin | round | kolt lamo mard
    narth | pellin | bitter | norf poplo prux
    rosk | sarrow | quick | rhun skeb tronk
    privel | sarrow | blind | gulm vex wint
    """
)
_SPECIES = [(name, row) for row in _GENERA for name in row[3].split()]
# if | then | if not then
_RULES = read_rows(
    """
    the bell rings | the gate opens | the bell did not ring
    the lamp is lit | the moth comes | the lamp was not lit
    the drum beats | the guard wakes | the drum did not beat
    the flag falls | the race starts | the flag did not fall
    the key turns | the box unlocks | the key did not turn
    the wind drops | the mill stops | the wind did not drop
    the owl calls | the mouse hides | the owl did not call
    the rope snaps | the bucket sinks | the rope did not snap
    the moon rises | the wolf howls | the moon did not rise
    the fuse burns | the rocket flies | the fuse did not burn
    the coin drops | the toy dances | the coin did not drop
    the judge nods | the crowd cheers | the judge did not nod
    the frost bites | the pipe bursts | the frost did not bite
    the whistle blows | the train leaves | the whistle did not blow
    the bread burns | the cook shouts | the bread did not burn
    the tide turns | the boat floats | the tide did not turn
    the cat sneezes | the vase breaks | the cat did not sneeze
    the king coughs | the court bows | the king did not cough
    the bee stings | the bear runs | the bee did not sting
    the clock chimes | the ghost fades | the clock did not chime
    """
)
# form of argument | how it is written down
_FORMS = read_rows(
    """
    modus ponens | if {p} then {q}; {p}; so {q}
    modus tollens | if {p} then {q}; not {q}; so not {p}
    disjunctive syllogism | {p} or {q}; not {p}; so {q}
    conjunction | {p}; {q}; so {p} and {q}
    simplification | {p} and {q}; so {p}
    addition | {p}; so {p} or {q}
    affirming the consequent | if {p} then {q}; {q}; so {p}
    denying the antecedent | if {p} then {q}; not {p}; so not {q}
    """
)
# a formula | an equal one
_LAWS = read_rows(
    """
    not ({p} and {q}) | not {p} or not {q}
    not ({p} or {q}) | not {p} and not {q}
    if {p} then {q} | not {p} or {q}
    not (if {p} then {q}) | {p} and not {q}
    not not {p} and {q} | {p} and {q}
    """
)
_LETTERS = [tuple(pair) for pair in read_words("pq rs ab xy mn uv gh cd jk tw")]
_CONNECTIVES: Mapping[str, Callable[[bool, bool], bool]] = {
    "and": lambda a, b: a and b,
    "or": lambda a, b: a or b,
    "xor": lambda a, b: a != b,
    "implies": lambda a, b: not a or b,
    "nand": lambda a, b: not (a and b),
}
_PAIRED = ("true, true", "true, false", "false, true", "false, false")


def _word(value: bool) -> str:
    return "true" if value else "false"


def _letter_facts(rows: tuple[tuple[str, ...], ...]) -> tuple[Fact, ...]:
    """Return facts whose key and answer are both written with several letters."""
    facts = []
    for p, q in _LETTERS:
        answers = tuple(answer.format(p=p, q=q) for _, answer in rows)
        for (key, _), answer in zip(rows, answers, strict=True):
            facts.append(Fact({"key": key.format(p=p, q=q)}, answer, answers))
    return tuple(facts)


_OF_SPECIES = (
    "All of them agree: what is the {what} of every {key}?",
    "What {what} follows from being a {key}?",
    "Something is a {key}. What is its {what}?",
    "Infer the {what} of a {key}.",
    "Given a {key}, conclude its {what}.",
)
_STATED = (
    "Every {key} has {answer} as its {what}.",
    "From being a {key} follows the {what} {answer}.",
    "All things that are {key} have the {what} {answer}.",
)
_KINDS = (
    lookup([(n, row[0]) for n, row in _SPECIES], _OF_SPECIES, _STATED, what="genus"),
    lookup([(n, row[1]) for n, row in _SPECIES], _OF_SPECIES, _STATED, what="order"),
    lookup([(n, row[2]) for n, row in _SPECIES], _OF_SPECIES, _STATED, what="quality"),
    lookup([(row[0], row[1]) for row in _GENERA], _OF_SPECIES, _STATED, what="order"),
    lookup([(row[0], row[2]) for row in _GENERA], _OF_SPECIES, _STATED, what="quality"),
)
_FORWARDS = lookup(
    [(cause, effect) for cause, effect, _ in _RULES],
    (
        "By the rules, what follows when {key}?",
        "Suppose {key}. What can be concluded?",
        "If {key}, then what?",
        "Premise: {key}. Conclusion?",
        "It is given that {key}. Hence what?",
    ),
    ("If {key} then {answer}.", "Suppose {key}; it follows that {answer}."),
)
_BACKWARDS = lookup(
    [(effect, denial) for _, effect, denial in _RULES],
    (
        "It is false that {key}. What can be concluded?",
        "Denied: {key}. Conclusion?",
        "By the rules, what follows if it is not so that {key}?",
        "Suppose it is not the case that {key}. Hence what?",
    ),
    ("If it is false that {key}, then {answer}.", "Denied that {key}, infer {answer}."),
)
_ARGUMENTS = Facts(
    rows=tuple(
        Fact({"key": form.format(p=p, q=q)}, name)
        for p, q in _LETTERS
        for name, form in _FORMS
    ),
    questions=(
        "Name the argument: {key}.",
        "Which form of argument is this: {key}?",
        "What do logicians call {key}?",
    ),
    statements=(
        "The argument {key} is {answer}.",
        "Logicians call it {answer}: {key}.",
    ),
)
_EQUALS = Facts(
    rows=_letter_facts(_LAWS),
    questions=(
        "Which formula equals {key}?",
        "Rewrite the formula {key}.",
        "What is equivalent to {key}?",
    ),
    statements=("{key} equals {answer}.", "It is the same to say {key} or {answer}."),
)
_TRUTHS = Facts(
    rows=tuple(
        Fact(
            {"a": _word(a), "b": _word(b), "one": one, "other": other},
            f"{_word(first(a, b))}, {_word(second(a, b))}",
            _PAIRED,
        )
        for one, first in _CONNECTIVES.items()
        for other, second in _CONNECTIVES.items()
        if one != other
        for a, b in product((True, False), repeat=2)
    ),
    questions=(
        "What are {a} {one} {b}, {a} {other} {b}?",
        "Evaluate {a} {one} {b}, {a} {other} {b}.",
    ),
    statements=("The values of {a} {one} {b}, {a} {other} {b} are {answer}.",),
)
_FACTS = (*_KINDS, _FORWARDS, _BACKWARDS, _ARGUMENTS, _EQUALS, _TRUTHS)

_OPENINGS = (
    "Axioms, premises and what follows from them.",
    "A treatise on valid inference.",
    "The logicians dispute, and write down what all accept.",
)


def _prose(rng: Random) -> str:
    start = rng.choice(_OPENINGS)
    if rng.random() < 0.6:
        return " ".join(
            statements(rng, _FACTS, words=rng.randint(90, 180), start=start)
        )
    chains = [_chain(rng) for _ in range(rng.randint(3, 4))]
    return "\n".join((start, *chains))


def _chain(rng: Random) -> str:
    """Return the descent of a species, from genus to order and quality."""
    name, row = rng.choice(_SPECIES)
    steps = (
        f"Every {name} is a {row[0]}.",
        f"Every {row[0]} is a {row[1]} and {row[2]}.",
        f"Hence every {name} is a {row[1]} and {row[2]}.",
    )
    own = [
        kind.sentence(fact, rng)
        for kind in _KINDS
        for fact in kind.rows
        if fact.fields["key"] == name
    ]
    return " ".join((*steps, *own))


LOGIC = World(
    name="logic",
    about="made-up beings and rules, forms of argument, truth values",
    facts=_FACTS,
    prose=_prose,
)
