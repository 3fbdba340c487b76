"""Write the tokens of a corpus into the files of a cache, which appears whole."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from emo_prune.errors import BadCorpus, NotEnoughDisk, PretrainingError
from emo_prune.locks import PATIENCE, held
from emo_prune.pretraining.document import DomainFacts, TokenCacheMeta
from emo_prune.pretraining.documents import Reading
from emo_prune.pretraining.sources import Document
from emo_prune.pretraining.tokenizer import plain_backend, tokenizer_digest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

META = "meta.json"
BY_DOCUMENT = {"ends": "<i8", "domains": "<i4"}
STORED = {"uint16": "<u2", "uint32": "<u4"}

_BATCH_CHARACTERS = 1 << 20  # at most; or one document, if it is longer
_BATCH_DOCUMENTS = 4096
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PARTIAL = re.compile(r"\.[0-9a-f]+\.[0-9a-f]{16}\.partial")


def write_tokens(
    reading: Reading,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    progress: Callable[[int], None],
) -> None:
    """Write a whole cache into a folder; `progress` is told of the bytes read.

    Raises:
        BadCorpus: the corpus is malformed, or nothing in it has a token.
        SettingsError: the tokenizer is not of the `tokenizers` library.
    """
    backend = plain_backend(tokenizer)
    backend.encode_special_tokens = True  # as the text that they are in a document
    largest = max(backend.get_vocab(with_added_tokens=True).values())
    dtype: Literal["uint16", "uint32"] = "uint16" if largest < 1 << 16 else "uint32"
    done = 0
    with _Writer(folder, STORED[dtype]) as writer:
        for batch in _batches(reading):
            encodings = backend.encode_batch_fast(
                [document.text for document in batch], add_special_tokens=False
            )
            writer.add(
                (document.domain, encoding.ids)
                for document, encoding in zip(batch, encodings, strict=True)
            )
            progress(reading.num_bytes - done)
            done = reading.num_bytes
    if not writer.num_documents:
        raise BadCorpus(
            "the tokenizer makes no token of the corpus",
            where=", ".join(facts.name for facts in reading.facts),
            expected="at least one document with a token",
            hint="use another tokenizer, or documents with text",
        )
    meta = TokenCacheMeta(
        sources=reading.facts,
        tokenizer=tokenizer_digest(tokenizer),
        dtype=dtype,
        num_tokens=writer.num_tokens,
        num_documents=writer.num_documents,
        tokens_sha256=writer.sha256,
        domains=writer.domains,
    )
    meta.save(folder / META)


@contextlib.contextmanager
def appearing(place: Path) -> Iterator[Path]:
    """Give a folder of this process's own, which becomes `place` at the end.

    If another process was faster, its folder stays and this one goes: both hold the
    same tokens. Whatever goes wrong, nothing is left behind; what a killed process
    left is removed by the next one.

    Raises:
        NotEnoughDisk, PretrainingError: the disk is full, or cannot be written to.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(place.parent)
        with _partial(place) as partial:
            yield partial
    except OSError as error:
        kind = NotEnoughDisk if error.errno in _FULL else PretrainingError
        raise kind(
            "the token cache cannot be written; nothing was left behind",
            where=place.parent,
            got=error.strerror or str(error),
            expected="a folder with room for the tokens",
            hint="free some space, check permissions, or choose another folder",
        ) from None


def _remove_stale(folder: Path) -> None:
    """Remove the folders that nobody holds: their processes were killed."""
    names = {path.name.removesuffix(".lock") for path in folder.iterdir()}
    for name in filter(_PARTIAL.fullmatch, names):
        with held(folder / name) as is_held:
            if is_held:
                shutil.rmtree(folder / name, ignore_errors=True)


@contextlib.contextmanager
def _partial(place: Path) -> Iterator[Path]:
    partial = place.with_name(f".{place.name}.{secrets.token_hex(8)}.partial")
    with held(partial, patience=PATIENCE):  # before it is there, or others clear it
        partial.mkdir()
        try:
            yield partial
            try:
                partial.rename(place)
            except OSError:
                if not place.is_dir():  # else another process was faster
                    raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Yield documents by the list, of so many characters as fit into memory easily."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        length = len(document.text)
        full = characters + length > _BATCH_CHARACTERS or len(batch) == _BATCH_DOCUMENTS
        if batch and full:
            yield batch
            batch, characters = [], 0
        batch.append(document)
        characters += length
    if batch:
        yield batch


class _Writer:
    """Writes documents' tokens, ends and domains to files as they come."""

    def __init__(self, folder: Path, dtype: str) -> None:
        self._dtypes = {"tokens": dtype, **BY_DOCUMENT}
        self._files = contextlib.ExitStack()
        self._open = {
            name: self._files.enter_context((folder / f"{name}.bin").open("wb"))
            for name in self._dtypes
        }
        self._digest = hashlib.sha256()
        self._numbers: dict[str, int] = {}
        self._domains: dict[str, list[int]] = {}  # documents, tokens
        self.num_tokens = 0
        self.num_documents = 0

    def __enter__(self) -> _Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.close()

    def add(self, documents: Iterable[tuple[str, list[int]]]) -> None:
        """Write the domain and tokens of each document that has tokens."""
        rows = [(domain, ids) for domain, ids in documents if ids]
        domains = [self._count(domain, len(ids)) for domain, ids in rows]
        lengths = np.array([len(ids) for _, ids in rows], dtype=np.int64)
        self._write("ends", self.num_tokens + np.cumsum(lengths))
        self._write("domains", np.array(domains))
        count = int(lengths.sum())
        flat = itertools.chain.from_iterable(ids for _, ids in rows)
        self._digest.update(
            self._write("tokens", np.fromiter(flat, dtype=np.uint32, count=count))
        )
        self.num_tokens += count
        self.num_documents += len(rows)

    @property
    def sha256(self) -> str:
        """The hash of the tokens."""
        return "sha256:" + self._digest.hexdigest()

    @property
    def domains(self) -> tuple[DomainFacts, ...]:
        """How much text there is of each domain."""
        return tuple(
            DomainFacts(name=name, documents=documents, tokens=tokens)
            for name, (documents, tokens) in self._domains.items()
        )

    def _count(self, domain: str, num_tokens: int) -> int:
        counts = self._domains.setdefault(domain, [0, 0])
        counts[0] += 1
        counts[1] += num_tokens
        return self._numbers.setdefault(domain, len(self._numbers))

    def _write(self, name: str, values: NDArray[np.integer]) -> bytes:
        data = values.astype(self._dtypes[name]).tobytes()
        self._open[name].write(data)
        return data
