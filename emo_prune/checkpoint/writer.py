"""New safetensors files out of byte ranges of old ones."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from emo_prune.checkpoint.source import ByteSource, open_output, several, write_at
from emo_prune.places import WEIGHTS

_PIECE = 16 * 1024 * 1024
_NOT_RESERVABLE = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes [start, end) of a source file; all of `data` instead when it is given."""

    file: str
    start: int
    end: int
    data: Callable[[], bytes | memoryview] | None = None

    @property
    def num_bytes(self) -> int:
        """Bytes of the range."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputTensor:
    """A tensor to be written: its new name, and the ranges its data are made of."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    ranges: tuple[ByteRange, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes of data."""
        return sum(piece.num_bytes for piece in self.ranges)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One file to be written."""

    name: str
    tensors: tuple[OutputTensor, ...]

    @property
    def header(self) -> bytes:
        """The header with its length, padded to 8 bytes as safetensors does."""
        entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
        position = 0
        for tensor in self.tensors:
            end = position + tensor.num_bytes
            entries[tensor.name] = {
                "dtype": tensor.dtype,
                "shape": list(tensor.shape),
                "data_offsets": [position, end],
            }
            position = end
        text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    @property
    def places(self) -> dict[str, int]:
        """Where each tensor's data begin in the file."""
        places, at = {}, len(self.header)
        for tensor in self.tensors:
            places[tensor.name] = at
            at += tensor.num_bytes
        return places

    @property
    def num_bytes(self) -> int:
        """Bytes of the file, header included."""
        return len(self.header) + sum(tensor.num_bytes for tensor in self.tensors)


def plan_shards(
    tensors: Iterable[OutputTensor], max_shard_bytes: int
) -> tuple[Shard, ...]:
    """Divide tensors, in order, over files of at most `max_shard_bytes` of data.

    A tensor larger than the limit gets a file of its own. One file is called
    `model.safetensors`; several are numbered as transformers numbers them.
    """
    groups: list[list[OutputTensor]] = [[]]
    left = max_shard_bytes
    for tensor in tensors:
        if groups[-1] and tensor.num_bytes > left:
            groups.append([])
            left = max_shard_bytes
        groups[-1].append(tensor)
        left -= tensor.num_bytes
    return tuple(
        Shard(name=_shard_name(number, len(groups)), tensors=tuple(group))
        for number, group in enumerate(groups, 1)
    )


def _shard_name(number: int, total: int) -> str:
    if total == 1:
        return WEIGHTS
    return f"model-{number:05d}-of-{total:05d}.safetensors"


def write_shard(
    shard: Shard,
    source: ByteSource,
    folder: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write one file: `create_shard`, then `fill_shard` with all its tensors."""
    create_shard(shard, folder)
    fill_shard(shard, shard.tensors, source, folder, progress)


def create_shard(shard: Shard, folder: Path) -> None:
    """Write a file's header and reserve its size, so that a full disk shows at once.

    The file must not exist yet.
    """
    output = open_output(folder / shard.name, new=True)
    try:
        _reserve(output, shard.num_bytes)
        write_at(output, shard.header, 0)
    finally:
        os.close(output)


def fill_shard(
    shard: Shard,
    tensors: Iterable[OutputTensor],
    source: ByteSource,
    folder: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write some of a file's tensors in their places, several ranges at once.

    The tensors bear names, types and shapes of the shard's, and may be made of other
    bytes. Neighbouring ranges are copied as one; `progress` is told the bytes of each.
    """
    output = open_output(folder / shard.name)
    try:

        def copy(job: tuple[ByteRange, int]) -> int:
            piece, at = job
            if piece.data is not None:
                write_at(output, piece.data(), at)
            else:
                source.copy(piece.file, piece.start, piece.end, output, at)
            return piece.num_bytes

        jobs = list(_cut(_joined(_placed(shard, tensors))))
        for num_bytes in several(copy, jobs, source.at_once):
            progress(num_bytes)
    finally:
        os.close(output)


def fill_shards(
    shards: Iterable[Shard],
    tensors: Iterable[OutputTensor],
    source: ByteSource,
    folder: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write some tensors, each into the file that has a place for it: `fill_shard`."""
    ours = {tensor.name: tensor for tensor in tensors}
    for shard in shards:
        here = [ours[t.name] for t in shard.tensors if t.name in ours]
        if here:
            fill_shard(shard, here, source, folder, progress)


def _reserve(output: int, num_bytes: int) -> None:
    """Reserve a file's blocks where the file system can; writing is then faster."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(output, 0, num_bytes)
        except OSError as error:
            if error.errno not in _NOT_RESERVABLE:
                raise
        else:
            return
    os.ftruncate(output, num_bytes)


def _placed(
    shard: Shard, tensors: Iterable[OutputTensor]
) -> Iterator[tuple[ByteRange, int]]:
    """Yield each range of the tensors and where it goes in the file."""
    places = shard.places
    for tensor in tensors:
        at = places[tensor.name]
        for piece in tensor.ranges:
            yield piece, at
            at += piece.num_bytes


def _joined(
    pieces: Iterable[tuple[ByteRange, int]],
) -> Iterator[tuple[ByteRange, int]]:
    """Join ranges that are neighbours both in the source and in the output."""
    last: tuple[ByteRange, int] | None = None
    for piece, at in pieces:
        if last is not None and _follows(last, piece, at):
            last = (replace(last[0], end=piece.end), last[1])
            continue
        if last is not None:
            yield last
        last = (piece, at)
    if last is not None:
        yield last


def _follows(last: tuple[ByteRange, int], piece: ByteRange, at: int) -> bool:
    before, place = last
    return (
        before.data is None
        and piece.data is None
        and (before.file, before.end) == (piece.file, piece.start)
        and place + before.num_bytes == at
    )


def _cut(
    pieces: Iterable[tuple[ByteRange, int]],
) -> Iterator[tuple[ByteRange, int]]:
    """Cut up large ranges; those whose data are given are written as they are."""
    for piece, at in pieces:
        step = piece.num_bytes if piece.data is not None else _PIECE
        for start in range(piece.start, piece.end, step or 1):
            end = min(start + step, piece.end)
            yield replace(piece, start=start, end=end), at + start - piece.start
