"""A checkpoint opened: config, tensors and files, checked against one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from emo_prune.checkpoint.header import Tensor, header_length, parse_header
from emo_prune.checkpoint.hub import (
    HubSource,
    cached_folder,
    looks_like_hub_id,
    no_folder,
)
from emo_prune.checkpoint.source import ByteSource, FolderSource
from emo_prune.errors import IndexMismatch, MissingShard, NotACheckpoint
from emo_prune.provenance import strict_json

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


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
    source, name, revision = _find(model, revision)
    config = parse_json(_read_whole(source, "config.json", model), "config.json")
    shards, weight_map = _shards_of(source, model)
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        for tensor in _read_header(source, shard):
            if tensor.name in tensors:
                raise IndexMismatch(
                    "two shards hold the same tensor",
                    where=f"{tensors[tensor.name].shard} and {shard}",
                    got=tensor.name,
                    hint="remove the shards that do not belong to this checkpoint",
                )
            tensors[tensor.name] = tensor
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
    try:
        hub = HubSource(model, revision)
    except MissingShard:
        raise _without("config.json", model) from None
    return hub, model, hub.revision


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
        hint="check --model; is this the folder that from_pretrained takes?",
    )


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


def _shards_of(
    source: ByteSource, model: str
) -> tuple[tuple[str, ...], dict[str, str] | None]:
    """Return the shard files and the index; a lone file wins, as in transformers."""
    try:
        source.size(SINGLE)
    except MissingShard:
        pass
    else:
        return (SINGLE,), None
    try:
        raw = source.read(INDEX, 0, source.size(INDEX))
    except MissingShard:
        raise NotACheckpoint(
            "the checkpoint has no safetensors files",
            where=model,
            expected=f"{SINGLE} or {INDEX}",
            hint="save it with save_pretrained, which writes safetensors",
        ) from None
    weight_map = parse_json(raw, INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise IndexMismatch(
            "the index has no weight_map",
            where=INDEX,
            hint="download it again",
        )
    for shard in weight_map.values():
        _check_shard_name(shard)
    return tuple(sorted(set(weight_map.values()))), weight_map


def _check_shard_name(shard: Any) -> None:
    """Refuse a shard name that is not a plain relative path inside the checkpoint."""
    plain = isinstance(shard, str) and shard.endswith(".safetensors")
    path = PurePosixPath(shard) if plain else PurePosixPath("/")
    if (
        path.is_absolute()
        or ".." in path.parts
        or str(path) != shard  # "./x" and "a//x" would be second names of one file
        or not shard.isprintable()
        or any(mark in shard for mark in "\\:")
    ):
        raise IndexMismatch(
            "the index names a file outside the checkpoint, or none at all",
            where=INDEX,
            got=repr(shard),
            expected="a relative path that ends in .safetensors",
            hint="do not use this checkpoint; its index may be hostile",
        )


def _read_header(source: ByteSource, shard: str) -> list[Tensor]:
    file_bytes = source.size(shard)
    length = header_length(source.read(shard, 0, min(8, file_bytes)), file_bytes, shard)
    return parse_header(source.read(shard, 8, 8 + length), file_bytes, shard)


def _check_index(weight_map: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
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
