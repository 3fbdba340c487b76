"""A file as a source of documents: rows of JSON, or plain text."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_prune.pretraining.rows import (
    Document,
    bad_corpus,
    decoded,
    document_of,
    parsed,
)
from emo_prune.pretraining.sources import Tally

_ROWS = (".jsonl", ".jsonl.gz")
SUFFIXES = (*_ROWS, ".txt")


@dataclass(frozen=True, slots=True)
class File:
    """A file as it was when it was found: its size and time of change."""

    path: Path
    num_bytes: int
    changed_ns: int

    @classmethod
    def at(cls, path: Path) -> File:
        """Return the file there is at a path; raise `OSError` where it cannot be."""
        status = path.stat()
        return cls(path, status.st_size, status.st_mtime_ns)

    @property
    def name(self) -> str:
        """The file's name, without folders."""
        return self.path.name

    def identity(self) -> list[Any]:
        """Return the resolved path, the size and the time of change."""
        return [str(self.path.resolve()), self.num_bytes, self.changed_ns]

    def size(self) -> int:
        """Return the bytes on the disk."""
        return self.num_bytes

    def documents(self, tally: Tally) -> Iterator[Document]:
        """Yield the file's documents, those without text left out.

        Raises:
            BadCorpus: naming file and line: it cannot be read or unpacked, is not
                UTF-8 or not JSON, has no `text`, or has changed since it was found.
        """
        lines = _lines(self, tally)
        return self._rows(lines) if self.name.endswith(_ROWS) else self._whole(lines)

    def _rows(self, lines: Iterator[bytes]) -> Iterator[Document]:
        domain = self.name.removesuffix(".gz").removesuffix(".jsonl")
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{self.path}, line {number}"
            document = document_of(parsed(line, where), domain, where)
            if document.text:
                yield document

    def _whole(self, lines: Iterator[bytes]) -> Iterator[Document]:
        text = "".join(
            decoded(line, f"{self.path}, line {number}")
            for number, line in enumerate(lines, start=1)
        )
        if text:
            yield Document(text, self.path.resolve().parent.name)


class _Tallied(io.RawIOBase):
    """A file of which every byte read is told to a tally."""

    def __init__(self, file: io.FileIO, tally: Tally) -> None:
        self._file = file
        self._tally = tally

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer)
        self._tally.add(memoryview(buffer)[:count])
        return count


def _lines(source: File, tally: Tally) -> Iterator[bytes]:
    """Yield the lines of a file, unpacked, without a byte order mark at the start."""
    path, number = source.path, 0
    try:
        with path.open("rb", buffering=0) as raw:
            file: Any = io.BufferedReader(_Tallied(raw, tally), 1 << 18)
            if path.name.endswith(".gz"):
                file = io.BufferedReader(gzip.GzipFile(fileobj=file), 1 << 18)
            for line in file:
                number += 1
                yield line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if File.at(path) != source:
            raise bad_corpus(
                "the file changed while it was read",
                path,
                expected="a file that nobody writes to",
                hint="wait until it is written, and run the same command again",
            )
    except (gzip.BadGzipFile, EOFError, zlib.error) as failure:
        raise bad_corpus(
            "the file is not a whole gzip file",
            f"{path}, after line {number}",
            got=str(failure),
            expected="a complete gzip archive, since its name ends in .gz",
            hint="download or compress it again; take .gz off the name of plain text",
        ) from None
    except OSError as failure:
        raise bad_corpus(
            "the file cannot be read",
            f"{path}, after line {number}" if number else path,
            got=failure.strerror or str(failure),
            expected="a file with text",
            hint="check the path and its permissions",
        ) from None
