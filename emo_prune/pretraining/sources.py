"""What every source of documents has: a name, an identity, and facts once read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from emo_prune.pretraining.rows import Document


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What a source was when it was read: its name, without folders, and its content.

    Of a file, bytes and hash are those on the disk, compressed or not. Of a dataset
    they are those of its texts: the hash is over each text's length and UTF-8 bytes.
    """

    name: str
    num_bytes: int
    sha256: str

    def record(self) -> dict[str, Any]:
        """Return the facts as JSON has them: name, bytes and sha256."""
        return {"name": self.name, "bytes": self.num_bytes, "sha256": self.sha256}


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

    def identity(self) -> list[Any]:
        """Return, as JSON, what tells it from others without reading it."""
        ...

    def size(self) -> int:
        """Return the bytes that reading it will tally, or 0 where nobody knows."""
        ...

    def documents(self, tally: Tally) -> Iterator[Document]:
        """Yield its documents, and tell the tally of every byte read for them."""
        ...
