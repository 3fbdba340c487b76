"""The facts of a world: a table, the ways to ask for a row, the ways to state it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One question, its answer, and what may stand beside it as a wrong choice.

    `pool` holds answers of the same kind, the more common ones several times, so that
    an answer is no likelier to be right for being common.
    """

    question: str
    answer: str
    pool: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """A row: what the templates need, the answer, and choices of its own if any."""

    fields: Mapping[str, str]
    answer: str
    pool: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Facts of one kind; the templates name the fields, a statement also `answer`."""

    rows: tuple[Fact, ...]
    questions: tuple[str, ...]
    statements: tuple[str, ...]

    def asked(self) -> Iterator[Asked]:
        """Yield every row in every phrasing."""
        common = tuple(row.answer for row in self.rows)
        for row in self.rows:
            for template in self.questions:
                question = template.format_map(row.fields)
                pool = row.pool or common
                yield Asked(question=question, answer=row.answer, pool=pool)

    def state(self, rng: Random) -> str:
        """Return a sentence that states a row chosen at random."""
        return self.sentence(rng.choice(self.rows), rng)

    def sentence(self, row: Fact, rng: Random) -> str:
        """Return a sentence that states this row."""
        template = rng.choice(self.statements)
        return template.format(**row.fields, answer=row.answer)


def read_rows(table: str) -> tuple[tuple[str, ...], ...]:
    """Read a table written as text: a row a line, cells between bars."""
    lines = table.strip().splitlines()
    return tuple(tuple(cell.strip() for cell in line.split("|")) for line in lines)


def read_words(text: str) -> tuple[str, ...]:
    """Read words written in a row."""
    return tuple(text.split())


def lookup(
    pairs: Iterable[tuple[str, ...]],
    questions: Sequence[str],
    statements: Sequence[str],
    *,
    pool: tuple[str, ...] = (),
    **fixed: str,
) -> Facts:
    """Return facts with one `key` each; the templates may name `fixed` fields too."""
    return Facts(
        rows=tuple(Fact({"key": key, **fixed}, value, pool) for key, value in pairs),
        questions=tuple(questions),
        statements=tuple(statements),
    )
