"""The tokens of a corpus, made once and kept as memory-mapped files.

    <folder>/<hash of sources and tokenizer>/
        tokens.bin     uint16 or uint32 [tokens], document after document
        ends.bin       int64 [documents], where each document ends, exclusive
        domains.bin    int32 [documents], an index into the domains of meta.json
        meta.json      counts, and where the tokens came from

All numbers are little-endian. There is nothing between two documents. A cache appears
complete or not at all, so several processes may make the same one at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from emo_prune.errors import BadTokenCache
from emo_prune.files import canonical_json, sha256_text
from emo_prune.pretraining.document import TokenCacheMeta
from emo_prune.pretraining.documents import open_corpus
from emo_prune.pretraining.token_writer import (
    BY_DOCUMENT,
    META,
    STORED,
    appearing,
    write_tokens,
)
from emo_prune.pretraining.tokenizer import tokenizer_digest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False)
class TokenCache:
    """The tokens of a corpus, opened for reading.

    `tokens` are uint16 or uint32 [documents' tokens one after the other], `ends` int64
    [documents], `domains` int32 [documents]: an index into `domain_names`. All three
    are memory-mapped. Every document has a token at least.
    """

    folder: Path
    tokens: NDArray[np.unsignedinteger]
    ends: NDArray[np.int64]
    domains: NDArray[np.int32]
    meta: TokenCacheMeta

    @property
    def num_tokens(self) -> int:
        """How many tokens all documents have together."""
        return len(self.tokens)

    @property
    def domain_names(self) -> list[str]:
        """What the domains are called."""
        return [domain.name for domain in self.meta.domains]

    @property
    def num_documents(self) -> int:
        """How many documents there are."""
        return len(self.ends)


def default_folder() -> Path:
    """Return where tokens are kept unless a place is given."""
    import platformdirs

    return platformdirs.user_cache_path("emo-prune") / "tokens"


def tokenized(
    sources: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> TokenCache:
    """Return the tokens of a corpus, from the cache if it has them.

    No special token is added, and one that a text spells out is text like any other.
    Documents without tokens are left out.

    Args:
        sources: as `open_corpus` takes them.
        tokenizer: of transformers, with a backend of the `tokenizers` library.
        folder: where caches are kept. A file that changed, or another tokenizer, gives
            a new one there.
        progress: told the bytes of each advance; `Corpus.size` is what files sum to.

    Raises:
        BadCorpus: a source is missing, malformed, or all are empty.
        BadTokenCache: the cache is there, and damaged.
        SettingsError: the tokenizer is not of the `tokenizers` library.
        NotEnoughDisk, PretrainingError: the cache cannot be written.
    """
    corpus = open_corpus(sources)
    digest = tokenizer_digest(tokenizer)
    key = canonical_json([TokenCacheMeta.schema, corpus.identity(), digest])
    place = folder / sha256_text(key).removeprefix("sha256:")[:32]
    if not place.is_dir():
        with appearing(place) as partial:
            write_tokens(corpus.read(), tokenizer, partial, progress)
    return open_token_cache(place)


def open_token_cache(folder: Path) -> TokenCache:
    """Open one cache, without reading its tokens.

    Raises:
        BadTokenCache: a file is missing, or has not the size that meta.json says.
    """
    meta = _meta(folder)
    num_tokens = meta.num_tokens
    tokens = _mapped(folder, "tokens", STORED[meta.dtype], num_tokens)
    ends, domains = (
        _mapped(folder, name, dtype, meta.num_documents)
        for name, dtype in BY_DOCUMENT.items()
    )
    if ends[-1] != num_tokens:
        raise _damaged(
            "the last document ends elsewhere than the tokens",
            folder,
            got=f"token {ends[-1]:,}",
            expected=f"token {num_tokens:,}",
        )
    return TokenCache(folder, tokens, ends, domains, meta)


def _meta(folder: Path) -> TokenCacheMeta:
    try:
        return TokenCacheMeta.load(folder / META)
    except BadTokenCache as problem:
        raise _damaged(f"{META} is not whole", folder, problem.got) from None


def _mapped(folder: Path, name: str, dtype: str, length: int) -> NDArray[Any]:
    path = folder / f"{name}.bin"
    wanted = length * np.dtype(dtype).itemsize
    try:
        found = path.stat().st_size
        if found == wanted and length > 0:
            return np.memmap(path, dtype=dtype, mode="r", shape=(length,))
    except OSError as failure:
        raise _damaged(
            f"{path.name} cannot be read", folder, failure.strerror
        ) from None
    raise _damaged(
        f"{path.name} has another size than meta.json says",
        folder,
        got=f"{found:,} bytes",
        expected=f"{wanted:,}",
    )


def _damaged(
    what: str, folder: Path, got: object = None, expected: object = None
) -> BadTokenCache:
    return BadTokenCache(
        what,
        where=folder,
        got=got,
        expected=expected or "a whole token cache",
        hint=f"delete it, and it is made anew: rm -r {folder}",
    )
