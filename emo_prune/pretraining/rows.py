"""Documents, and the rows of JSON they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emo_prune.errors import BadCorpus
from emo_prune.files import strict_json


@dataclass(frozen=True, slots=True)
class Document:
    """A text that is not empty, and the domain it is counted under."""

    text: str
    domain: str


def decoded(line: bytes, where: str) -> str:
    """Return a line as text; raise `BadCorpus` where it is not UTF-8."""
    try:
        return line.decode()
    except UnicodeDecodeError as failure:
        raise bad_corpus(
            "the line is not UTF-8 text",
            where,
            got=failure.reason,
            expected="text in UTF-8",
            hint="convert the file: iconv -f ENCODING -t UTF-8",
        ) from None


def parsed(line: bytes, where: str) -> Mapping[str, Any]:
    """Return a line's JSON object; raise `BadCorpus` where it holds none."""
    text = decoded(line, where)
    try:
        value = strict_json(text)
    except ValueError as failure:
        raise bad_corpus("the line is not JSON", where, got=str(failure)) from None
    if not isinstance(value, dict):
        raise bad_corpus(
            "the row is not a JSON object", where, got=type(value).__name__
        )
    return value


def document_of(row: Mapping[str, Any], domain: str, where: str) -> Document:
    """Return a row's document; raise `BadCorpus` where `text` or `domain` is none."""
    text, named = row.get("text"), row.get("domain")
    if not isinstance(text, str):
        got = type(text).__name__ if "text" in row else "no such key"
        raise bad_corpus("`text` is not a text", where, got=got)
    if named is not None and not isinstance(named, str):
        raise bad_corpus("`domain` is not a text", where, got=type(named).__name__)
    return Document(text, named or domain)


def bad_corpus(
    what: str,
    where: object,
    *,
    got: object = None,
    expected: object = None,
    hint: str = "",
) -> BadCorpus:
    """Return the error for a corpus, with the usual expectation and hint."""
    return BadCorpus(
        what,
        where=where,
        got=got,
        expected=expected or "rows with `text`, and `domain` where it is known",
        hint=hint or "give .jsonl files with one JSON object a line, or .txt files",
    )
