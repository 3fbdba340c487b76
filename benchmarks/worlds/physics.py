"""The world of matter: materials, changes of state, quantities, machines, effects."""

from __future__ import annotations

from random import Random

from benchmarks.worlds.facts import Fact, Facts, lookup, read_rows, read_words
from benchmarks.worlds.world import World, statements

# material | class | in water | current | in a flame
_MATERIALS = read_rows(
    """
    copper | metal | sinks fast | flows freely | glows
    iron | metal | sinks fast | flows well | glows
    silver | metal | sinks fast | flows freely | melts
    lead | metal | sinks fast | flows well | melts
    aluminium | metal | sinks slowly | flows freely | melts
    mercury | metal | sinks fast | flows well | boils
    oak | wood | floats low | is blocked | chars
    pine | wood | floats high | is blocked | chars
    ebony | wood | sinks slowly | is blocked | chars
    balsa | wood | floats high | is blocked | chars
    cork | wood | floats high | is blocked | chars
    granite | stone | sinks slowly | is blocked | cracks
    chalk | stone | sinks slowly | is blocked | cracks
    slate | stone | sinks slowly | is blocked | cracks
    pumice | stone | floats low | is blocked | glows
    graphite | stone | sinks slowly | flows well | glows
    window glass | glass | sinks slowly | is blocked | cracks
    quartz | glass | sinks slowly | is blocked | glows
    nylon | plastic | sinks slowly | is blocked | melts
    foam | plastic | floats high | is blocked | melts
    rubber | plastic | floats low | is blocked | chars
    wax | plastic | floats low | is blocked | melts
    brine | liquid | sinks slowly | flows poorly | boils
    alcohol | liquid | floats high | is blocked | boils
    olive oil | liquid | floats low | is blocked | boils
    damp clay | stone | sinks slowly | flows poorly | cracks
    """
)
_CHANGES = (
    ("solid", "liquid", "melting"),
    ("liquid", "solid", "freezing"),
    ("liquid", "gas", "boiling"),
    ("gas", "liquid", "condensing"),
    ("solid", "gas", "sublimation"),
    ("gas", "solid", "deposition"),
)
_SUBSTANCES = read_words(
    "water iodine neon argon sulfur ammonia methane zinc tin sodium ether helium "
    "oxygen nitrogen benzene camphor"
)
# quantity | unit | symbol | instrument
_QUANTITIES = read_rows(
    """
    force | newton | F | spring balance
    energy | joule | E | calorimeter
    power | watt | P | wattmeter
    voltage | volt | U | voltmeter
    current | ampere | I | ammeter
    resistance | ohm | R | ohmmeter
    charge | coulomb | Q | electroscope
    frequency | hertz | f | oscilloscope
    pressure | pascal | p | manometer
    temperature | kelvin | T | thermometer
    mass | kilogram | m | beam balance
    brightness | candela | I | photometer
    magnetic field | tesla | B | compass
    radiation | becquerel | A | Geiger counter
    """
)
# machine | energy in | energy out
_MACHINES = read_rows(
    """
    light bulb | electric | light
    toaster | electric | heat
    fan | electric | motion
    bell | electric | sound
    charger | electric | chemical
    solar cell | light | electric
    leaf | light | chemical
    black plate | light | heat
    candle | chemical | light
    stove | chemical | heat
    battery | chemical | electric
    muscle | chemical | motion
    turbine | motion | electric
    brake | motion | heat
    drum | motion | sound
    steam engine | heat | motion
    thermocouple | heat | electric
    glowing wire | heat | light
    microphone | sound | electric
    window pane | sound | motion
    """
)
# what is seen | its name
_EFFECTS = read_rows(
    """
    a straw looks bent in a glass | refraction
    a shout comes back from a cliff | an echo
    a mirror shows a face | reflection
    rubbed hands get warm | friction
    a siren sounds lower as it leaves | the Doppler effect
    a comb lifts scraps of paper | static charge
    a paper clip jumps to a bar | magnetism
    a dropped ball speeds up | gravity
    a rider lurches when the bus stops | inertia
    ink spreads through still water | diffusion
    a water strider stands on a pond | surface tension
    water climbs in a thin tube | capillarity
    warm air rises over a radiator | convection
    a spoon handle gets hot in soup | conduction
    the sun warms a cheek | radiant heat
    rails get longer in summer | thermal expansion
    a rocket goes up as gas goes down | recoil
    a plank turns about a pivot | leverage
    a ship is pushed up by the sea | buoyancy
    a glass rings along with a tone | resonance
    sunlight is split by a prism | dispersion
    light bends round a slit | diffraction
    """
)

_OF_QUANTITY = (
    "What is the {what} of {key}?",
    "Tell me the {what} of {key}.",
    "Physicists use which {what} for {key}?",
    "Which {what} belongs to {key}?",
    "Give the {what} of the quantity {key}.",
)
_STATED_QUANTITY = (
    "The {what} of {key} is {answer}.",
    "Physicists use {answer} as {what} of {key}.",
)


def _material(cell: int, noun: str) -> Facts:
    return lookup(
        [(row[0], row[cell]) for row in _MATERIALS],
        (
            "What is the {what} of {key}?",
            "In the laboratory, what is the {what} of {key}?",
            "Samples of {key} were tested for {what} with what finding?",
            "Give the {what} of a block of {key}.",
            "The lab book notes which {what} for {key}?",
        ),
        (
            "The {what} of {key}: {answer}.",
            "Samples of {key} were tested for {what}: {answer}.",
            "The lab book notes {answer} as {what} of {key}.",
        ),
        what=noun,
    )


_ABOUT_MATERIALS = (
    _material(1, "class"),
    _material(2, "behaviour in water"),
    _material(3, "effect on current"),
    _material(4, "behaviour in a flame"),
)
_STATES = Facts(
    rows=tuple(
        Fact({"key": substance, "one": one, "other": other}, name)
        for substance in _SUBSTANCES
        for one, other, name in _CHANGES
    ),
    questions=(
        "What is it called when {key} goes from {one} to {other}?",
        "{key} turns from {one} into {other} by what?",
        "Name the change of {key} from {one} to {other}.",
    ),
    statements=(
        "When {key} goes from {one} to {other}, it is called {answer}.",
        "By {answer}, {key} turns from {one} into {other}.",
    ),
)
_ABOUT_QUANTITIES = tuple(
    lookup(
        [(row[0], row[cell]) for row in _QUANTITIES],
        _OF_QUANTITY,
        _STATED_QUANTITY,
        what=what,
    )
    for cell, what in ((1, "unit"), (2, "symbol"), (3, "meter"))
)
_INPUT = lookup(
    [(row[0], row[1]) for row in _MACHINES],
    (
        "What kind of energy goes into a {key}?",
        "A {key} takes in which energy?",
        "What energy feeds a {key}?",
        "Which energy is spent by a {key}?",
    ),
    ("A {key} takes in {answer} energy.", "The energy that feeds a {key} is {answer}."),
)
_OUTPUT = lookup(
    [(row[0], row[2]) for row in _MACHINES],
    (
        "What kind of energy comes out of a {key}?",
        "A {key} gives off which energy?",
        "What energy is won from a {key}?",
        "Which energy is made by a {key}?",
    ),
    ("A {key} gives off {answer} energy.", "The energy won from a {key} is {answer}."),
)
_NAMED = lookup(
    _EFFECTS,
    (
        "Which effect is at work when {key}?",
        "What explains that {key}?",
        "What do physicists call it when {key}?",
        "Name the effect: {key}.",
        "It is observed that {key}. Why?",
    ),
    ("When {key}, it is {answer}.", "That {key} is explained by {answer}."),
)
_FACTS = (*_ABOUT_MATERIALS, _STATES, *_ABOUT_QUANTITIES, _INPUT, _OUTPUT, _NAMED)

_OPENINGS = (
    "Laboratory report on matter and energy.",
    "Experiment log: samples, meters and observations.",
    "Lecture notes in elementary physics.",
)


def _prose(rng: Random) -> str:
    start = rng.choice(_OPENINGS)
    if rng.random() < 0.6:
        return " ".join(
            statements(rng, _FACTS, words=rng.randint(90, 180), start=start)
        )
    samples = rng.sample(range(len(_MATERIALS)), rng.randint(2, 3))
    tested = [
        kind.sentence(kind.rows[place], rng)
        for place in samples
        for kind in _ABOUT_MATERIALS
    ]
    machines = rng.sample(range(len(_MACHINES)), 3)
    seen = [
        kind.sentence(kind.rows[place], rng)
        for place in machines
        for kind in (_INPUT, _OUTPUT)
    ]
    return "\n".join((start, " ".join(tested), " ".join(seen)))


PHYSICS = World(
    name="physics",
    about="materials, changes of state, quantities, machines and effects",
    facts=_FACTS,
    prose=_prose,
)
