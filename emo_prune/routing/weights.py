"""A layer's tensors, read from the checkpoint byte range by byte range.

What is read is kept as it lies on disk, so that `extract` can write the very bytes it
has run. A thread reads ahead of the layer that is being computed; for a GPU into pinned
memory, from where the copy runs beside the computation.
"""

from __future__ import annotations

import bisect
import contextlib
import ctypes
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from emo_prune.checkpoint import (
    DTYPES,
    ByteRange,
    ByteSource,
    OutputTensor,
    Wanted,
)
from emo_prune.errors import Command, RoutingError

_COMPUTED = ("F64", "F32", "F16", "BF16", "I64", "I32", "BOOL")
_ALIGNED = 64  # bytes, as torch aligns memory of its own
_TOLD = 64 * 1024 * 1024  # bytes that are read before progress is told


class HeldBytes:
    """Byte ranges of a checkpoint that are in memory."""

    def __init__(self, source: ByteSource, *, pinned: bool = False) -> None:
        self._source = source
        self._pinned = pinned
        self._starts: list[tuple[str, int]] = []
        self._buffers: list[Tensor] = []

    def read(
        self,
        tensors: Iterable[OutputTensor],
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Read what the tensors are made of, unless it is held already.

        `progress` is told of bytes that have been read, now and then.
        """
        pieces = [piece for tensor in tensors for piece in tensor.ranges]
        missing = dict.fromkeys(p for p in pieces if self.find(p) is None)
        sizes = [-(-piece.num_bytes // _ALIGNED) * _ALIGNED for piece in missing]
        # One block, which goes back to the system as a whole: many small ones leave
        # holes that pile up from layer to layer.
        block = torch.empty(sum(sizes), dtype=torch.uint8, pin_memory=self._pinned)
        wanted, at = [], 0
        for piece, size in zip(missing, sizes, strict=True):
            buffer = block[at : at + piece.num_bytes]
            wanted.append(Wanted(piece.file, piece.start, buffer.numpy().data))
            place = bisect.bisect(self._starts, (piece.file, piece.start))
            self._starts.insert(place, (piece.file, piece.start))
            self._buffers.insert(place, buffer)
            at += size
        if progress is None:
            self._source.fill(wanted)
            return
        for some in _portions(wanted):
            self._source.fill(some)
            progress(sum(len(one.buffer) for one in some))

    def forget(self, tensors: Iterable[OutputTensor]) -> None:
        """Let go of what the tensors are made of, where it was read by itself."""
        for tensor in tensors:
            for piece in tensor.ranges:
                at = bisect.bisect(self._starts, (piece.file, piece.start)) - 1
                if at >= 0 and self._starts[at] == (piece.file, piece.start):
                    del self._starts[at], self._buffers[at]

    def find(self, piece: ByteRange) -> Tensor | None:
        """Return the bytes of a range, uint8; None if they are not all held."""
        at = bisect.bisect(self._starts, (piece.file, piece.start)) - 1
        if at < 0 or self._starts[at][0] != piece.file:
            return None
        offset = piece.start - self._starts[at][1]
        if offset + piece.num_bytes > len(self._buffers[at]):
            return None
        return self._buffers[at][offset : offset + piece.num_bytes]

    def has(self, tensors: Iterable[OutputTensor]) -> bool:
        """Tell whether everything the tensors are made of is held."""
        return all(
            self.find(piece) is not None
            for tensor in tensors
            for piece in tensor.ranges
        )

    def tensor(self, output: OutputTensor) -> Tensor:
        """Return a tensor that has been read; its memory is shared where it can be."""
        parts = [self.find(piece) for piece in output.ranges]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts):
            raise RuntimeError(f"{output.name} has not been read")
        raw = found[0] if len(found) == 1 else torch.cat(found)
        return raw.view(torch_dtype(output)).reshape(output.shape)


class ReadAhead:
    """Reads the next layer's tensors while the current one is computed."""

    def __init__(self, source: ByteSource, *, pinned: bool = False) -> None:
        self._source = source
        self._pinned = pinned
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._next: dict[int, Future[HeldBytes]] = {}

    def start(self, layer: int, *blocks: Sequence[OutputTensor]) -> None:
        """Begin to read a layer's tensors, each block into memory of its own, once."""
        if layer not in self._next:
            self._next[layer] = self._thread.submit(self._read, blocks)

    def read(
        self,
        layer: int,
        *blocks: Sequence[OutputTensor],
        progress: Callable[[int], None],
    ) -> None:
        """Read a layer's tensors at once; `progress` is told of the bytes."""
        done: Future[HeldBytes] = Future()
        done.set_result(self._read(blocks, progress))
        self._next[layer] = done

    def take(self, layer: int, *blocks: Sequence[OutputTensor]) -> HeldBytes:
        """Return a layer's tensors once they are there."""
        self.start(layer, *blocks)
        return self._next.pop(layer).result()

    def _read(
        self,
        blocks: Sequence[Sequence[OutputTensor]],
        progress: Callable[[int], None] | None = None,
    ) -> HeldBytes:
        held = HeldBytes(self._source, pinned=self._pinned)
        for tensors in blocks:
            held.read(tensors, progress)
        return held

    def close(self) -> None:
        """Stop reading."""
        self._thread.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def reading_ahead(source: ByteSource, *, pinned: bool) -> Iterator[ReadAhead]:
    """Read ahead in a thread that ends with the block."""
    reader = ReadAhead(source, pinned=pinned)
    try:
        yield reader
    finally:
        reader.close()


def torch_dtype(tensor: OutputTensor) -> torch.dtype:
    """Return torch's name of a tensor's dtype.

    Raises:
        RoutingError: a model cannot compute with it as it lies there.
    """
    if tensor.dtype not in _COMPUTED:
        raise RoutingError(
            "a model cannot be run layer by layer on tensors of this type",
            where=tensor.name,
            got=tensor.dtype,
            expected=", ".join(_COMPUTED),
            hint=(
                *("use ", Command("select", {"stream": False}), " and export, or "),
                "the unquantised checkpoint",
            ),
        )
    found: torch.dtype = getattr(torch, str(DTYPES[tensor.dtype].torch))
    return found


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library keeps it (glibc).

    Tensors of a few megabytes leave holes that would add up from layer to layer.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _portions(wanted: Sequence[Wanted]) -> Iterator[list[Wanted]]:
    """Divide reads into portions that take about as long."""
    some: list[Wanted] = []
    size = 0
    for one in wanted:
        some.append(one)
        size += len(one.buffer)
        if size >= _TOLD:
            yield some
            some, size = [], 0
    if some:
        yield some
