"""The world of genes: strands, codons, amino acids, the peas of a garden."""

from __future__ import annotations

from itertools import product
from random import Random

from benchmarks.worlds.facts import Facts, lookup, read_rows
from benchmarks.worlds.world import World, statements

_CODONS = ["".join(letters) for letters in product("UCAG", repeat=3)]
_CODE = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
_STRANDS = ["".join(letters) for letters in product("ACGT", repeat=3)]

# letter | amino acid | side chain
_ACIDS = read_rows(
    """
    A | alanine | oily
    R | arginine | positive
    N | asparagine | polar
    D | aspartate | negative
    C | cysteine | special
    Q | glutamine | polar
    E | glutamate | negative
    G | glycine | special
    H | histidine | positive
    I | isoleucine | oily
    L | leucine | oily
    K | lysine | positive
    M | methionine | oily
    F | phenylalanine | aromatic
    P | proline | special
    S | serine | polar
    T | threonine | polar
    W | tryptophan | aromatic
    Y | tyrosine | aromatic
    V | valine | oily
    """
)
_NAMES = {letter: name for letter, name, _ in _ACIDS} | {"*": "stop"}
# gene | what it shapes | dominant form | recessive form | chromosome
_GENES = read_rows(
    """
    R | seed shape | round | wrinkled | 7
    Y | seed colour | yellow | green | 1
    W | flower colour | violet | white | 1
    T | stem height | tall | dwarf | 4
    P | pod shape | plump | pinched | 4
    G | pod colour | lime | amber | 5
    L | leaf edge | smooth | toothed | 2
    H | stem hair | hairy | bare | 3
    B | bloom time | early | late | 6
    K | root depth | deep | shallow | 2
    S | scent | sweet | none | 3
    D | tendril | curly | straight | 6
    """
)
_CROSSES = (
    ("{0}{0}", "{1}{1}", "all"),
    ("{0}{1}", "{0}{1}", "three in four"),
    ("{0}{1}", "{1}{1}", "half"),
    ("{1}{1}", "{1}{1}", "none"),
    ("{1}{1}", "{0}{1}", "half"),
    ("{0}{0}", "{0}{1}", "all"),
)


def _paired(strand: str, partners: str) -> str:
    return strand.translate(str.maketrans("ACGT", partners))


_STRANDS_PAIRED = (
    lookup(
        [(strand, _paired(strand, "TGCA")) for strand in _STRANDS],
        (
            "Which DNA strand pairs with {key}?",
            "What is the complement of {key}?",
            "Give the complement strand of {key}.",
            "Base by base, what pairs with {key}?",
            "What does the helix hold across from {key}?",
        ),
        (
            "The complement of {key} is {answer}.",
            "The DNA strand {key} pairs with {answer}.",
            "Across from {key} the helix holds {answer}.",
        ),
    ),
    lookup(
        [(strand, _paired(strand, "UGCA")) for strand in _STRANDS],
        (
            "Which mRNA is transcribed from {key}?",
            "What is the transcript of {key}?",
            "Give the mRNA transcript of {key}.",
            "What does the polymerase copy from {key}?",
        ),
        (
            "The transcript of {key} is {answer}.",
            "From {key} the polymerase copies {answer}.",
            "The mRNA transcribed from {key} is {answer}.",
        ),
    ),
)
_TRANSLATED = lookup(
    [(codon, _NAMES[letter]) for codon, letter in zip(_CODONS, _CODE, strict=True)],
    (
        "What does the codon {key} stand for?",
        "Which amino acid does the ribosome add at {key}?",
        "Translate the codon {key}.",
        "What is the meaning of {key} in the code?",
        "The ribosome reads {key} as what?",
        "What is coded by {key}?",
    ),
    (
        "The codon {key} stands for {answer}.",
        "The ribosome reads {key} as {answer}.",
        "In the code, {key} means {answer}.",
        "Coded by {key}: {answer}.",
    ),
)
_OF_ACID = (
    "What is the {what} of {key}?",
    "Tell me the {what} of {key}.",
    "Which {what} has {key}?",
    "Biochemists give which {what} to {key}?",
    "Give the {what} of the amino acid {key}.",
)
_OF_GENE = (
    "What is the {what} of gene {key}?",
    "Tell me the {what} of gene {key}.",
    "Which {what} has pea gene {key}?",
    "The gardener notes which {what} for gene {key}?",
    "In the pea garden, what is the {what} of gene {key}?",
)
_STATED = ("The {what} of {key} is {answer}.", "Known {what} of {key}: {answer}.")
_STATED_GENE = (
    "The {what} of gene {key} is {answer}.",
    "Gene {key} of the peas has as {what}: {answer}.",
)
_ABOUT_ACIDS = (
    lookup([(n, letter) for letter, n, _ in _ACIDS], _OF_ACID, _STATED, what="letter"),
    lookup([(n, side) for _, n, side in _ACIDS], _OF_ACID, _STATED, what="side chain"),
)
_ABOUT_GENES = tuple(
    lookup(
        [(gene[0], gene[cell]) for gene in _GENES], _OF_GENE, _STATED_GENE, what=what
    )
    for cell, what in (
        (1, "trait"),
        (2, "dominant form"),
        (3, "recessive form"),
        (4, "chromosome"),
    )
)
_CROSSED = lookup(
    [
        (f"{one} with {other}".format(gene[0], gene[0].lower()), share)
        for gene in _GENES
        for one, other, share in _CROSSES
    ],
    (
        "How many offspring are dominant when you cross {key}?",
        "Which share shows the dominant form after crossing {key}?",
    ),
    ("Cross {key}: {answer} of the offspring show the dominant form.",),
)
_FACTS: tuple[Facts, ...] = (
    *_STRANDS_PAIRED,
    _TRANSLATED,
    *_ABOUT_ACIDS,
    *_ABOUT_GENES,
    _CROSSED,
)


def _prose(rng: Random) -> str:
    start = "Bench notes on DNA, mRNA and peas."
    if rng.random() < 0.5:
        return " ".join(
            statements(rng, _FACTS, words=rng.randint(90, 160), start=start)
        )
    return "\n".join(_reading(rng) for _ in range(rng.randint(2, 3)))


def _reading(rng: Random) -> str:
    """Return a gene followed from strand to complement, to transcript, to protein."""
    strands = rng.sample(range(64), rng.randint(3, 4))
    pairing, transcript = _STRANDS_PAIRED
    told = []
    for place in strands:
        copied = transcript.rows[place]
        read = next(r for r in _TRANSLATED.rows if r.fields["key"] == copied.answer)
        told.append(pairing.sentence(pairing.rows[place], rng))
        told.append(transcript.sentence(copied, rng))
        told.append(_TRANSLATED.sentence(read, rng))
    return f"Reading frame {rng.randint(1, 3)}. {' '.join(told)}"


GENETICS = World(
    name="genetics",
    about="strands, codons and amino acids, and the peas of a made-up garden",
    facts=_FACTS,
    prose=_prose,
)
