"""The index of a checkpoint: which files hold its tensors, by its own word."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from emo_prune.checkpoint.header import Tensor
from emo_prune.checkpoint.source import ByteSource
from emo_prune.errors import IndexMismatch, MissingShard, NotACheckpoint
from emo_prune.files import strict_json

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


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
    return parse_json(source.read(file, 0, source.size(file)), file)


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
        expected=f"{SINGLE} or {INDEX}",
        hint="save it with save_pretrained, which writes safetensors",
    )


def shards_of(
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
        raise _without_weights(source, model) from None
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


def check_index(weight_map: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
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
