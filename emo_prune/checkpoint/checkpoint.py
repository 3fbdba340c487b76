"""A checkpoint opened: config, index and headers, checked against one another."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_prune.checkpoint.header import Tensor, header_length, parse_header
from emo_prune.checkpoint.hub import (
    HubSource,
    cached_folder,
    looks_like_hub_id,
    no_folder,
)
from emo_prune.checkpoint.source import ByteSource, FolderSource, is_inside, several
from emo_prune.errors import (
    HubError,
    IndexMismatch,
    MissingShard,
    NotACheckpoint,
    Parameter,
)
from emo_prune.files import strict_json
from emo_prune.places import CONFIG, INDEX, WEIGHTS

_FIRST_READ = 256 * 1024  # most headers are shorter
_MAX_JSON_BYTES = 100_000_000  # an index of 100,000 tensors has 10 MB


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
            hint=("a local folder is read without ", Parameter("remote")),
        )
    return _opened(*_hub(repository, revision, cache), repository)


def _opened(
    source: ByteSource, name: str, revision: str | None, model: str
) -> Checkpoint:
    try:
        config = _read_json(source, CONFIG)
    except MissingShard:
        raise _without(CONFIG, model) from None
    shards, weight_map = _shards_of(source, model)
    tensors = _read_headers(source, shards)
    if weight_map is not None:
        _check_index(weight_map, tensors)
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
        raise _without(CONFIG, repository) from None
    return hub, repository, hub.revision


def name_of_folder(root: Path) -> tuple[str, str | None]:
    """Return a folder's name and revision; a Hub cache snapshot is named by its id."""
    repository = root.parent.parent.name
    if root.parent.name == "snapshots" and repository.startswith("models--"):
        return repository.removeprefix("models--").replace("--", "/"), root.name
    # A name need not be text; whatever holds it must be.
    return os.fsencode(root.name).decode(errors="replace"), None


def _without(file: str, model: str) -> NotACheckpoint:
    return NotACheckpoint(
        "this is not a checkpoint",
        where=model,
        got=f"no {file}",
        expected=f"{CONFIG} and model*.safetensors",
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


def parse_json(raw: bytes, file: str) -> dict[str, Any]:
    """Return the object a JSON file holds; raise `NotACheckpoint` if it is none."""
    try:
        value = strict_json(raw)
    except ValueError as error:
        raise NotACheckpoint(
            "the file is not valid JSON",
            where=file,
            got=str(error),
            hint="download it again",
        ) from None
    if not isinstance(value, dict):
        raise NotACheckpoint(
            "the file is not a JSON object",
            where=file,
            got=type(value).__name__,
            hint="download it again",
        )
    return value


def read_object(source: ByteSource, file: str) -> dict[str, Any] | None:
    """Return the object that a JSON file of a checkpoint holds; None without the file.

    Raises:
        NotACheckpoint: it holds none.
    """
    if file not in source.files():
        return None
    return _read_json(source, file)


def _read_json(source: ByteSource, file: str) -> dict[str, Any]:
    num_bytes = source.size(file)
    if num_bytes > _MAX_JSON_BYTES:
        raise NotACheckpoint(
            "the file is too large",
            where=file,
            got=f"{num_bytes:,} bytes",
            expected=f"at most {_MAX_JSON_BYTES:,}",
            hint="download it again",
        )
    return parse_json(source.read(file, 0, num_bytes), file)


def _without_weights(source: ByteSource, model: str) -> NotACheckpoint:
    loose = [file for file in source.files() if file.endswith(".safetensors")]
    if loose:
        return NotACheckpoint(
            "the index of the safetensors files is missing",
            where=model,
            got=f"{len(loose)} of them, {loose[0]} the first",
            expected=INDEX,
            hint=f"download {INDEX} as well",
        )
    return NotACheckpoint(
        "the checkpoint has no safetensors files",
        where=model,
        expected=f"{WEIGHTS} or {INDEX}",
        hint="save it with save_pretrained, which writes safetensors",
    )


def _shards_of(
    source: ByteSource, model: str
) -> tuple[tuple[str, ...], dict[str, str] | None]:
    """Return the shard files and the index; a lone file wins, as in transformers."""
    try:
        source.size(WEIGHTS)
    except MissingShard:
        pass
    else:
        return (WEIGHTS,), None
    try:
        weight_map = _read_json(source, INDEX).get("weight_map")
    except MissingShard:
        raise _without_weights(source, model) from None
    if not isinstance(weight_map, dict) or not weight_map:
        raise IndexMismatch(
            "the index has no weight_map",
            where=INDEX,
            hint="download it again",
        )
    strange = [name for name in weight_map.values() if not isinstance(name, str)]
    shards = () if strange else tuple(sorted(set(weight_map.values())))
    for name in (*strange, *shards):
        if not _is_shard_name(name):
            raise IndexMismatch(
                "the index names a file outside the checkpoint, or none at all",
                where=INDEX,
                got=repr(name),
                expected="a relative path that ends in .safetensors",
                hint="do not use this checkpoint; its index may be hostile",
            )
    return shards, weight_map


def _is_shard_name(name: object) -> bool:
    if not isinstance(name, str):
        return False
    return name.endswith(".safetensors") and ":" not in name and is_inside(name)


def _check_index(weight_map: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
    """Raise `IndexMismatch` unless index and shards name the same tensors."""
    for name, shard in weight_map.items():
        if name not in tensors or tensors[name].shard != shard:
            raise IndexMismatch(
                "the index names a tensor that is not there",
                where=INDEX,
                got=f"{name!r} in {shard}",
                hint="the shards are from another checkpoint; download them again",
            )
    for name, tensor in tensors.items():
        if name not in weight_map:
            raise IndexMismatch(
                "a shard holds a tensor that the index does not name",
                where=tensor.shard,
                got=repr(name),
                hint="the index is from another checkpoint; download it again",
            )
