"""Rows of users' files: text that is opened and read, and the columns it must have."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from emo_prune.errors import TaskError

Row = dict[str, Any]
Fits = Callable[[Mapping[str, Any]], bool]


def open_text(path: Path, newline: str | None = None) -> IO[str]:
    """Open a text file, gzip-compressed if its name ends in .gz.

    `newline` is that of `open`: CSV wants "" for the line ends inside its cells.
    """
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline=newline)
    return path.open(encoding="utf-8-sig", newline=newline)


@contextmanager
def reading(path: Path, error: type[TaskError]) -> Iterator[None]:
    """Raise `error`, which names the file, for whatever keeps it from being text."""
    try:
        yield
    except UnicodeDecodeError as failure:
        raise error(
            "the file is not UTF-8 text",
            where=path,
            got=failure.reason,
            expected="text in UTF-8",
            hint=f"convert it: iconv -f ENCODING -t UTF-8 {path.name}",
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as failure:
        raise error(
            "the file is not a whole gzip file",
            where=path,
            got=str(failure),
            expected="a complete gzip archive, since its name ends in .gz",
            hint="compress it again, or take .gz off its name if it is plain text",
        ) from None
    except csv.Error as failure:
        raise error(
            "the file is not CSV",
            where=path,
            got=str(failure),
            expected="comma-separated values",
            hint="download the file again",
        ) from None
    except OSError as failure:
        raise error(
            "the file cannot be read",
            where=path,
            got=failure.strerror or str(failure),
            expected="a file with text",
            hint="check the path and its permissions",
        ) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column that must be there; `fits` sees the row, with all columns before it."""

    name: str
    expected: str
    fits: Fits


def checked(row: Any, columns: tuple[Column, ...], where: str) -> Row:
    """Return a row that has what the columns ask for.

    Raises:
        TaskError: it is no JSON object, lacks a column, or has a value of no use.
    """
    if not isinstance(row, dict):
        raise TaskError(
            "a row is not a JSON object",
            where=where,
            got=type(row).__name__,
            expected=f"an object with {_names(columns)}",
            hint="download the file again, or correct the row",
        )
    for column in columns:
        if column.name not in row:
            raise TaskError(
                f"a row lacks {column.name!r}",
                where=where,
                got=", ".join(map(repr, row))[:200] or "no columns",
                expected=_names(columns),
                hint="write the rows with the columns of the data set on the Hub",
            )
        if not column.fits(row):
            raise TaskError(
                f"the row's {column.name!r} cannot be used",
                where=where,
                got=repr(row[column.name])[:80],
                expected=column.expected,
                hint="write the rows with the columns of the data set on the Hub",
            )
    return row


def texts(*names: str) -> tuple[Column, ...]:
    """Columns of text."""
    return tuple(
        Column(name=name, expected="a text", fits=_is_text(name)) for name in names
    )


def one_of(name: str, *values: Any) -> Column:
    """A column with one of some values."""
    return Column(
        name=name,
        expected=f"one of {', '.join(map(repr, values))}",
        # 1 == True, and yet they are different labels
        fits=lambda row: any(
            type(row[name]) is type(value) and row[name] == value for value in values
        ),
    )


def text_list(name: str, at_least: int, at_most: int) -> Column:
    """A column with a list of texts."""
    return Column(
        name=name,
        expected=f"a list of {at_least} to {at_most} texts",
        fits=lambda row: (
            _are_texts(row[name]) and at_least <= len(row[name]) <= at_most
        ),
    )


def labelled_choices(
    name: str, answer: str, *, labels: str | None = None, padded: bool = False
) -> tuple[Column, ...]:
    """Choices as {"text": [...], "label": [...]}, and the label of the right one.

    `labels` are those the task counts on; `padded` says that it takes a space before
    the right one.
    """

    def fits(row: Mapping[str, Any]) -> bool:
        choices = row[name] if isinstance(row[name], dict) else {}
        text, label = choices.get("text", ()), choices.get("label", ())
        if not (_are_texts(text) and _are_texts(label) and len(text) == len(label)):
            return False
        return len(text) > 1 if labels is None else label == list(labels)

    def answers(row: Mapping[str, Any]) -> bool:
        right = row[answer]
        if not isinstance(right, str):
            return False
        return (right.lstrip() if padded else right) in row[name]["label"]

    return (
        Column(
            name=name,
            expected='{"text": [...], "label": [...]}, lists of texts, equally long'
            + (f", labels {labels[0]} to {labels[-1]}" if labels else ""),
            fits=fits,
        ),
        Column(name=answer, expected="one of the labels", fits=answers),
    )


def _is_text(name: str) -> Fits:
    return lambda row: isinstance(row[name], str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _names(columns: tuple[Column, ...]) -> str:
    return ", ".join(repr(column.name) for column in columns)
