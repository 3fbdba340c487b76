"""The documents of a corpus, one by one, wherever they lie.

A source is a file, a folder, a glob pattern, or the name of a dataset on the Hub. No
source is ever held in memory whole: at most one document is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from emo_prune.pretraining.document import SourceFacts
from emo_prune.pretraining.sources import (
    SUFFIXES,
    Dataset,
    Document,
    File,
    Identity,
    Source,
    Tally,
    bad_corpus,
)

_KINDS = "a file that ends in " + ", ".join(SUFFIXES)
_GLOB = re.compile(r"[*?[]")


class Corpus:
    """All documents of some sources, in the order of the sources.

    Iterating reads every source anew. Errors while reading are `BadCorpus`.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)

    def __iter__(self) -> Iterator[Document]:
        """Yield every document; see `Reading`."""
        return iter(self.read())

    def read(self) -> Reading:
        """Return a pass over the documents that also learns facts of the sources."""
        return Reading(self._sources)

    def identity(self) -> list[Identity]:
        """Return, as JSON, what tells this corpus from others without reading it.

        Of a file: its resolved path, size and time of change in nanoseconds. Of a
        dataset: its name, configuration and split, so a change on the Hub goes unseen.
        """
        return [source.identity() for source in self._sources]

    def size(self) -> int:
        """Return the bytes of all files on the disk; datasets count nothing."""
        return sum(source.size() for source in self._sources)


class Reading:
    """One pass over a corpus."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._tally = Tally()
        self._finished: list[SourceFacts] = []

    def __iter__(self) -> Iterator[Document]:
        """Yield every document.

        Raises:
            BadCorpus: a source cannot be read or is malformed, or there is no document.
        """
        found = False
        for source in self._sources:
            self._tally = Tally()
            for document in source.documents(self._tally):
                found = True
                yield document
            self._finished.append(self._tally.facts(source.name))
            self._tally = Tally()
        if not found:
            raise bad_corpus(
                "there is no text in the corpus",
                ", ".join(source.name for source in self._sources),
                expected="at least one document with text",
            )

    @property
    def num_bytes(self) -> int:
        """How many bytes have been read so far."""
        return self._tally.num_bytes + sum(one.num_bytes for one in self._finished)

    @property
    def facts(self) -> tuple[SourceFacts, ...]:
        """The facts of the sources that have been read to their ends."""
        return tuple(self._finished)


def open_corpus(sources: Sequence[str]) -> Corpus:
    """Find the files and datasets that sources name; nothing is read yet.

    Args:
        sources: each one of
            a `.jsonl` or `.jsonl.gz` file: a JSON object a line with `text` and
                perhaps `domain`, which is otherwise the file's name up to `.jsonl`;
            a `.txt` file: one document, whose domain is its folder's name;
            a folder: all such files in it and below, by path, hidden ones left out;
            a glob pattern, `**` for folders of any depth: all such files, by path;
            `NAME`, `NAME:CONFIG`, `NAME@SPLIT` or `NAME:CONFIG@SPLIT`: a dataset, read
                as a stream; the split is train unless given. A row without `domain`
                has the configuration for one, or else the name.
            Rows whose text is empty are left out, and so are blank lines.

    Raises:
        BadCorpus: a source names nothing, no file that can be read, or a file that
            another source names as well.
    """
    if not sources:
        raise bad_corpus("the corpus has no sources", None, expected="at least one")
    found = [one for source in sources for one in _resolve(source)]
    seen: set[str] = set()
    for one in found:
        key = repr(one.identity())
        if key in seen:
            raise bad_corpus(
                "a source is in the corpus twice",
                one.name,
                expected="each document once",
                hint="name it once; a folder holds all files below it",
            )
        seen.add(key)
    return Corpus(found)


def _resolve(source: str) -> Sequence[Source]:
    path = Path(source)
    try:
        if path.is_dir():
            return _files(path, "**/*", source)
        if path.is_file():
            return [_file(path)]
        if _GLOB.search(source):
            return _matching(path, source)
    except OSError as failure:
        raise bad_corpus(
            "the source cannot be looked at",
            source,
            got=failure.strerror or str(failure),
            expected="a file or folder that can be read",
            hint="check the path and its permissions",
        ) from None
    dataset = None if source.endswith(SUFFIXES) else Dataset.named(source)
    if dataset is None:
        raise bad_corpus(
            "there is no such file or folder",
            source,
            expected=f"{_KINDS}, a folder of them, a glob pattern or a dataset's name",
            hint="check the path",
        )
    return [dataset]


def _file(path: Path) -> File:
    if not path.name.endswith(SUFFIXES):
        raise bad_corpus("the file is of no kind that is read", path, expected=_KINDS)
    return File.at(path)


def _matching(path: Path, source: str) -> list[File]:
    """Return the files of a pattern, looked for below its parts that are plain."""
    parts = path.parts
    first = next(i for i, part in enumerate(parts) if _GLOB.search(part))
    try:
        return _files(Path(*parts[:first]), str(Path(*parts[first:])), source)
    except ValueError as failure:
        raise bad_corpus(
            "the source is not a glob pattern",
            source,
            got=str(failure),
            expected="* and ? within a name, ** for folders of any depth",
        ) from None


def _files(folder: Path, pattern: str, source: str) -> list[File]:
    """Return the files below a folder that match, by path, hidden ones left out."""
    found = [
        File.at(path)
        for path in sorted(folder.glob(pattern))
        if path.name.endswith(SUFFIXES) and path.is_file()
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise bad_corpus("the source holds no documents", source, expected=_KINDS)
    return found
