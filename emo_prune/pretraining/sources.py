"""Where documents come from: files of JSON lines or of text, datasets of the Hub.

No source is ever held in memory whole: at most one document is.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from emo_prune.errors import BadCorpus
from emo_prune.files import strict_json
from emo_prune.pretraining.document import SourceFacts
from emo_prune.tasks import quiet

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_ROWS = (".jsonl", ".jsonl.gz")
SUFFIXES = (*_ROWS, ".txt")
_LONGEST = 256_000_000  # bytes of a line: a few more bytes of gzip may unpack to any
_NAME = re.compile(
    r"(?P<path>[\w.-]+(/[\w.-]+)?)(:(?P<config>[\w.-]+))?(@(?P<split>\w+))?"
)

Identity = list[str | int | None]  # JSON
Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Document:
    """A text that is not empty, and the domain it is counted under."""

    text: str
    domain: str


class Tally:
    """Counts and hashes the bytes that are read of one source."""

    def __init__(self) -> None:
        self.num_bytes = 0
        self._digest = hashlib.sha256()

    def add(self, data: bytes | memoryview) -> None:
        """Take in the next bytes."""
        self.num_bytes += len(data)
        self._digest.update(data)

    def add_text(self, text: str) -> None:
        """Take in a text, whose length is hashed before it, so that it has an end."""
        data = text.encode()
        self._digest.update(len(data).to_bytes(8, "little"))
        self.add(data)

    def facts(self, name: str) -> SourceFacts:
        """Return what was read, under a name."""
        digest = "sha256:" + self._digest.hexdigest()
        return SourceFacts(name=name, num_bytes=self.num_bytes, sha256=digest)


class Source(Protocol):
    """What a corpus is made of, as it was when the corpus was opened."""

    @property
    def name(self) -> str:
        """What facts and errors call it: no folders."""
        ...

    def identity(self) -> Identity:
        """Return, as JSON, what tells it from others without reading it."""
        ...

    def size(self) -> int:
        """Return the bytes that reading it will tally, or 0 where nobody knows."""
        ...

    def documents(self, tally: Tally) -> Iterator[Document]:
        """Yield its documents, and tell the tally of every byte read for them."""
        ...


@dataclass(frozen=True, slots=True)
class File:
    """A file as it was when it was found: its size and time of change."""

    path: Path
    num_bytes: int
    changed_ns: int

    @classmethod
    def at(cls, path: Path) -> File:
        """Return the file at a path; raise `OSError` where there is none."""
        status = path.stat()
        return cls(path, status.st_size, status.st_mtime_ns)

    @property
    def name(self) -> str:
        """The file's name, without folders."""
        return self.path.name

    def identity(self) -> Identity:
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

    def readinto(self, buffer: WriteableBuffer) -> int:
        count = self._file.readinto(buffer)
        self._tally.add(memoryview(buffer)[:count])
        return count


def _lines(source: File, tally: Tally) -> Iterator[bytes]:
    """Yield the lines of a file, unpacked, without a byte order mark at the start."""
    path, number = source.path, 0
    try:
        with path.open("rb", buffering=0) as raw:
            file: io.BufferedIOBase = io.BufferedReader(_Tallied(raw, tally), 1 << 18)
            if path.name.endswith(".gz"):
                file = io.BufferedReader(gzip.GzipFile(fileobj=file), 1 << 18)
            while line := file.readline(_LONGEST + 1):
                number += 1
                if len(line) > _LONGEST:
                    raise bad_corpus(
                        "the line is too long to be one document",
                        f"{path}, line {number}",
                        got=f"more than {_LONGEST:,} bytes",
                        expected="a document a line",
                    )
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


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset by its name; whatever it holds when it is read counts."""

    path: str
    config: str | None
    split: str

    @classmethod
    def named(cls, source: str) -> Dataset | None:
        """Return the dataset that NAME, NAME:CONFIG or NAME@SPLIT means, if one."""
        match = _NAME.fullmatch(source)
        if match is None or source.startswith("."):
            return None
        return cls(match["path"], match["config"], match["split"] or "train")

    @property
    def name(self) -> str:
        """Name, configuration and split, as `named` takes them."""
        config = f":{self.config}" if self.config else ""
        return f"{self.path}{config}@{self.split}"

    def identity(self) -> Identity:
        """Return name, configuration and split: a change on the Hub goes unseen."""
        return [self.path, self.config, self.split]

    def size(self) -> int:
        """Return 0: a stream does not say how long it is."""
        return 0

    def documents(self, tally: Tally) -> Iterator[Document]:
        """Yield the documents of the column `text`, those without text left out.

        Raises:
            BadCorpus: there is no such dataset, configuration or split, it cannot be
                fetched, or a row has no `text`.
        """
        domain = self.config or self.path
        for number, row in enumerate(self._rows(), start=1):
            document = document_of(row, domain, f"{self.name}, row {number}")
            if document.text:
                tally.add_text(document.text)
                yield document

    def _rows(self) -> Iterator[Row]:
        import datasets  # slow, and files do without it
        from huggingface_hub.errors import HTTPError

        failures = (
            datasets.exceptions.DatasetsError,
            HTTPError,
            ImportError,
            LookupError,
            OSError,
            RuntimeError,
            ValueError,
        )
        try:
            with quiet():
                rows = datasets.load_dataset(
                    self.path, self.config, split=self.split, streaming=True
                )
            yield from rows
        except failures as failure:
            raise bad_corpus(
                "there is no such file or folder, and no such dataset can be read",
                self.name,
                got=str(failure).strip().split("\n")[0] or type(failure).__name__,
                expected="a file, a folder, a glob pattern or a dataset's name",
                hint="check the path; for a dataset, its name, its configuration, its "
                "split and the network",
            ) from None


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


def parsed(line: bytes, where: str) -> Row:
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


def document_of(row: Row, domain: str, where: str) -> Document:
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
