"""The header of a safetensors file: parsed strictly, before any byte is trusted.

Format: 8 bytes little-endian header length N, N bytes of JSON, then the data. Each
JSON entry but `__metadata__` is a tensor with `dtype`, `shape` and `data_offsets`
relative to the data's start. Offsets must tile the data: no hole, no overlap, nothing
beyond the end. Source: the safetensors README, "Format".
"""

from __future__ import annotations

import math
import reprlib
from typing import Any, NamedTuple, TypeGuard

from emo_prune.checkpoint.dtypes import DTYPES
from emo_prune.errors import HeaderError
from emo_prune.files import strict_json

MAX_HEADER_BYTES = 100_000_000  # the reference parser's own limit
_MAX_INTEGER = 2**64 - 1


class Tensor(NamedTuple):
    """One tensor on disk; `start` and `end` are byte positions in the shard file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    shard: str
    start: int
    end: int

    @property
    def num_bytes(self) -> int:
        """Bytes of data."""
        return self.end - self.start

    @property
    def num_parameters(self) -> int:
        """Elements, as stored (a packed format stores several weights in one)."""
        return math.prod(self.shape)


def header_length(first_8_bytes: bytes, file_bytes: int, shard: str) -> int:
    """Return the length of the JSON header, checked against the file's size.

    Raises:
        HeaderError: the file is too short, or the length passes the file or the limit.
    """
    if len(first_8_bytes) < 8 or file_bytes < 8:
        raise HeaderError(
            "the file is too short to be safetensors",
            where=shard,
            got=f"{file_bytes} bytes",
            expected="at least 8",
            hint="download it again",
        )
    length = int.from_bytes(first_8_bytes, "little")
    if length > MAX_HEADER_BYTES:
        raise HeaderError(
            "the header is over the size limit",
            where=shard,
            got=f"{length:,} bytes",
            expected=f"at most {MAX_HEADER_BYTES:,}",
            hint="the file is damaged, or not safetensors; download it again",
        )
    if 8 + length > file_bytes:
        raise _truncated(shard, file_bytes, 8 + length)
    return length


def parse_header(raw: bytes, file_bytes: int, shard: str) -> list[Tensor]:
    """Return the tensors a header names, in the order their data lie in the file.

    Args:
        raw: the JSON header, without the 8 bytes of length.
        file_bytes: size of the whole file.
        shard: the file's name, for errors and for `Tensor.shard`.

    Raises:
        HeaderError: anything in the header that breaks the format.
    """
    entries = _load_json(raw, shard)
    _check_metadata(entries.get("__metadata__"), shard)
    data_start = 8 + len(raw)
    tensors = [
        _parse_entry(name, entry, data_start, shard)
        for name, entry in entries.items()
        if name != "__metadata__"
    ]
    tensors.sort(key=lambda tensor: (tensor.start, tensor.end))
    _check_tiling(tensors, data_start, file_bytes, shard)
    return tensors


def _load_json(raw: bytes, shard: str) -> dict[str, Any]:
    try:
        entries = strict_json(raw)
    except ValueError as error:
        raise HeaderError(
            "the header is not valid JSON",
            where=shard,
            got=str(error),
            hint="the file is damaged, or not safetensors; download it again",
        ) from None
    if not isinstance(entries, dict):
        raise _bad_entry("the header", shard, type(entries).__name__, "an object")
    return entries


def _check_metadata(metadata: Any, shard: str) -> None:
    plain = isinstance(metadata, dict) and all(
        isinstance(value, str) for value in metadata.values()
    )
    if metadata is not None and not plain:
        got = reprlib.repr(metadata)
        raise _bad_entry("__metadata__", shard, got, "an object of strings")


def _parse_entry(name: str, entry: Any, data_start: int, shard: str) -> Tensor:
    where = f"{shard}, tensor {name!r}"
    if not isinstance(entry, dict):
        raise _bad_entry("the entry", where, type(entry).__name__, "an object")
    dtype, shape = entry.get("dtype"), entry.get("shape")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise _bad_entry("the dtype", where, reprlib.repr(dtype), ", ".join(DTYPES))
    if not _is_naturals(shape):
        raise _bad_entry(
            "the shape", where, reprlib.repr(shape), "a list of integers >= 0"
        )
    offsets = entry.get("data_offsets")
    if not _is_naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _bad_entry("data_offsets", where, reprlib.repr(offsets), "[start, end]")
    if 8 * (offsets[1] - offsets[0]) != _bits(dtype, shape):
        raise _bad_entry(
            "the size of the data",
            where,
            f"{offsets[1] - offsets[0]} bytes",
            f"as many as {dtype} {reprlib.repr(shape)} takes",
        )
    return Tensor(
        name=name,
        dtype=dtype,
        shape=tuple(shape),
        shard=shard,
        start=data_start + offsets[0],
        end=data_start + offsets[1],
    )


def _bits(dtype: str, shape: list[int]) -> int:
    """Return the bits that a tensor takes; no more than one past the largest count."""
    bits = DTYPES[dtype].bits
    if 0 in shape:
        return 0
    for length in shape:
        bits *= length
        if bits > _MAX_INTEGER:  # a long list of lengths would take forever
            return _MAX_INTEGER + 1
    return bits


def _is_naturals(value: Any) -> TypeGuard[list[int]]:
    if not isinstance(value, list):
        return False
    for item in value:  # faster than all(): most lists have two
        if type(item) is not int or not 0 <= item <= _MAX_INTEGER:
            return False
    return True


def _check_tiling(
    tensors: list[Tensor], data_start: int, file_bytes: int, shard: str
) -> None:
    position = data_start
    for tensor in tensors:
        if tensor.start != position:
            problem = "overlap" if tensor.start < position else "leave a hole"
            raise HeaderError(
                f"the tensors' offsets {problem}",
                where=f"{shard}, tensor {tensor.name!r}",
                got=f"start {tensor.start - data_start}",
                expected=str(position - data_start),
                hint="the file is damaged; download it again",
            )
        position = tensor.end
    if position > file_bytes:
        raise _truncated(shard, file_bytes, position)
    if position < file_bytes:
        raise HeaderError(
            "the file has bytes that belong to no tensor",
            where=shard,
            got=f"{file_bytes:,} bytes",
            expected=f"{position:,}",
            hint="the file is damaged; download it again",
        )


def _bad_entry(what: str, where: str, got: str, expected: str) -> HeaderError:
    return HeaderError(
        f"{what} breaks the safetensors format",
        where=where,
        got=got,
        expected=expected,
        hint="the file is damaged; download it again",
    )


def _truncated(shard: str, file_bytes: int, expected: int) -> HeaderError:
    return HeaderError(
        "the file is cut short",
        where=shard,
        got=f"{file_bytes:,} bytes",
        expected=f"{expected:,}",
        hint="download it again",
    )
