"""A checkpoint opened: config, tensors and files, checked against one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_prune.checkpoint.header import Tensor, header_length, parse_header
from emo_prune.checkpoint.hub import cached_folder, looks_like_hub_id, no_folder
from emo_prune.checkpoint.hub_source import HubSource
from emo_prune.checkpoint.index import check_index, parse_json, shards_of
from emo_prune.checkpoint.source import ByteSource, FolderSource
from emo_prune.checkpoint.threads import several
from emo_prune.errors import HubError, IndexMismatch, MissingShard, NotACheckpoint

_FIRST_READ = 256 * 1024  # most headers are shorter


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A safetensors checkpoint: what is in it and where, without its data.

    `name` is the Hub id, or the folder's own name: never an absolute path, so that
    it can be written into artifacts.
    """

    name: str
    revision: str | None
    source: ByteSource
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    shards: tuple[str, ...]

    def read(self, tensor: Tensor) -> bytes:
        """Return a tensor's bytes."""
        return self.source.read(tensor.shard, tensor.start, tensor.end)

    @property
    def num_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.num_bytes for tensor in self.tensors.values())


def open_checkpoint(model: str, revision: str | None = None) -> Checkpoint:
    """Open a local folder, or a Hub repository by its headers alone.

    Raises:
        NotACheckpoint: no such folder, no config, or no safetensors files.
        HubError: the Hub cannot be reached, or refuses.
        HeaderError, IndexMismatch, MissingShard: the files are not sound.
    """
    return _opened(*_find(model, revision), model)


def open_remote(
    repository: str, revision: str | None = None, cache: Path | None = None
) -> Checkpoint:
    """Open a Hub repository by its headers, whatever local copies there are.

    Its shards are read by range, never whole, and what was read is kept in the folder
    `cache` if one is given.

    Raises:
        NotACheckpoint: the repository has no config or no safetensors files.
        HubError: the name is no Hub id; the Hub cannot be reached, or refuses.
        HeaderError, IndexMismatch, MissingShard: the files are not sound.
    """
    if not looks_like_hub_id(repository):
        raise HubError(
            "this is not the name of a Hub repository",
            where=repository,
            expected="a name like allenai/Emo_1b14b_1T",
            hint="a local folder is read without --remote",
        )
    return _opened(*_hub(repository, revision, cache), repository)


def _opened(
    source: ByteSource, name: str, revision: str | None, model: str
) -> Checkpoint:
    config = parse_json(_read_whole(source, "config.json", model), "config.json")
    shards, weight_map = shards_of(source, model)
    tensors = _read_headers(source, shards)
    if weight_map is not None:
        check_index(weight_map, tensors)
    return Checkpoint(
        name=name,
        revision=revision,
        source=source,
        config=config,
        tensors=tensors,
        shards=shards,
    )


def _find(model: str, revision: str | None) -> tuple[ByteSource, str, str | None]:
    root = Path(model)
    if root.is_dir():
        name, cached_revision = name_of_folder(root.resolve())
        return FolderSource(root), name, cached_revision
    if root.exists() or not looks_like_hub_id(model):
        raise no_folder(model)
    cached = cached_folder(model, revision)
    if cached is not None:
        return FolderSource(cached), *name_of_folder(cached)
    return _hub(model, revision)


def _hub(
    repository: str, revision: str | None, cache: Path | None = None
) -> tuple[ByteSource, str, str | None]:
    try:
        hub = HubSource(repository, revision, cache)
    except MissingShard:
        raise _without("config.json", repository) from None
    return hub, repository, hub.revision


def name_of_folder(root: Path) -> tuple[str, str | None]:
    """Return a folder's name and revision; a Hub cache snapshot is named by its id."""
    repository = root.parent.parent.name
    if root.parent.name == "snapshots" and repository.startswith("models--"):
        return repository.removeprefix("models--").replace("--", "/"), root.name
    return root.name, None


def _read_whole(source: ByteSource, file: str, model: str) -> bytes:
    try:
        return source.read(file, 0, source.size(file))
    except MissingShard:
        raise _without(file, model) from None


def _without(file: str, model: str) -> NotACheckpoint:
    return NotACheckpoint(
        "this is not a checkpoint",
        where=model,
        got=f"no {file}",
        expected="config.json and model*.safetensors",
        hint="check the name; is this the folder that from_pretrained takes?",
    )


def _read_headers(source: ByteSource, shards: tuple[str, ...]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    headers = several(lambda shard: read_header(source, shard), shards, source.at_once)
    for shard, found in zip(shards, headers, strict=True):
        for tensor in found:
            if tensor.name in tensors:
                raise IndexMismatch(
                    "two shards hold the same tensor",
                    where=f"{tensors[tensor.name].shard} and {shard}",
                    got=tensor.name,
                    hint="remove the shards that do not belong to this checkpoint",
                )
            tensors[tensor.name] = tensor
    return tensors


def read_header(source: ByteSource, shard: str) -> list[Tensor]:
    """Return a shard's tensors: mostly by one read, of hardly more than the header.

    Raises:
        HeaderError, MissingShard: the file is not sound, or not there.
    """
    file_bytes = source.size(shard)
    first_read = max(8, min(_FIRST_READ, file_bytes // 1000))
    raw = source.read(shard, 0, min(first_read, file_bytes))
    end = 8 + header_length(raw[:8], file_bytes, shard)
    if end > len(raw):
        raw += source.read(shard, len(raw), end)
    return parse_header(raw[8:end], file_bytes, shard)
