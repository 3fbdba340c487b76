"""The documents of a training: of its tokens, of the run, and of what it made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import msgspec

from emo_prune.artifacts import Count, Document, Part, Positive, Sha256
from emo_prune.errors import (
    BadTokenCache,
    EmoPruneError,
    PretrainingError,
    StaleTraining,
)
from emo_prune.facts import Versions
from emo_prune.pretraining.recipe import Recipe, Variant


class SourceFacts(Part, frozen=True, kw_only=True):
    """What a source of text was when it was read: its name, without folders, and more.

    Of a file, bytes and hash are those on the disk, compressed or not. Of a dataset
    they are those of its texts: the hash is over each text's length and UTF-8 bytes.
    """

    name: str
    num_bytes: Count = msgspec.field(name="bytes")
    sha256: Sha256


class DomainFacts(Part, frozen=True, kw_only=True):
    """How much text there is of a domain."""

    name: str
    documents: Positive
    tokens: Positive


class TokenCacheMeta(
    Document, frozen=True, kw_only=True, tag="emo-prune/token-cache/1"
):
    """`meta.json` of a token cache: what was made into tokens, and by what.

    tokenizer: the hash of its backend. tokens_sha256: of tokens.bin. domains: as
    domains.bin numbers them.
    """

    error: ClassVar[type[EmoPruneError]] = BadTokenCache

    sources: tuple[SourceFacts, ...]
    tokenizer: Sha256
    dtype: Literal["uint16", "uint32"]
    num_tokens: Positive
    num_documents: Positive
    tokens_sha256: Sha256
    domains: tuple[DomainFacts, ...]


class TrainingIdentity(Document, frozen=True, kw_only=True, tag="emo-prune/run/1"):
    """`run.json` of a training in progress: what decides its outcome.

    initialised_from: the fingerprint of the checkpoint whose weights it began with.
    """

    error: ClassVar[type[EmoPruneError]] = StaleTraining

    variant: Variant
    recipe: Recipe
    tokens_sha256: Sha256
    tokenizer: Sha256
    initialised_from: Sha256 | None


class PretrainRecord(Document, frozen=True, kw_only=True, tag="emo-prune/pretrain/1"):
    """`emo_prune.json` of a trained model; nothing in it depends on the machine.

    recipe: the settings, as the variant changed them. steps, tokens: those trained.
    final: the last line of metrics, without what depends on the schedule alone.
    loss_by_step: cross-entropy in nats a token, of 200 lines of metrics at most.
    """

    error: ClassVar[type[EmoPruneError]] = PretrainingError
    made_by: ClassVar[str] = "pretrain"

    variant: Variant
    recipe: Mapping[str, str | bool | int | float]
    data: TokenCacheMeta
    initialised_from: Sha256 | None
    steps: Count
    tokens: Count
    final: Mapping[str, int | float]
    loss_by_step: tuple[tuple[int, float], ...]
    versions: Versions

    def __repr__(self) -> str:
        loss = self.final.get("loss")
        ended = "" if loss is None else f", loss {loss:.3f}"
        return f"PretrainRecord({self.variant}, {self.tokens:,} tokens{ended})"
