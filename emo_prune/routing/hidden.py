"""Hidden states of all calibration tokens between two layers, in memory or on disk."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from emo_prune.errors import NotEnoughDisk


class HiddenStates:
    """Hidden states [examples, tokens, hidden] of each batch, in the model's dtype.

    More than `max_bytes` of them lie in a memory-mapped scratch file, which has no
    name from the start, so that the system removes it however the process ends.

    Raises:
        NotEnoughDisk: the scratch file has no place.
    """

    def __init__(
        self,
        shapes: Sequence[tuple[int, int, int]],
        dtype: torch.dtype,
        max_bytes: int,
    ) -> None:
        sizes = [math.prod(shape) for shape in shapes]
        total = sum(sizes)
        self.on_disk = total * dtype.itemsize > max_bytes
        self.flat = (
            _mapped(total, dtype) if self.on_disk else torch.empty(total, dtype=dtype)
        )
        parts = torch.split(self.flat, sizes) if sizes else ()
        self._batches: list[Tensor] = [
            part.view(shape) for part, shape in zip(parts, shapes, strict=True)
        ]

    def __getitem__(self, batch: int) -> Tensor:
        """Return the hidden states of a batch; they share the storage."""
        return self._batches[batch]

    def __setitem__(self, batch: int, states: Tensor) -> None:
        """Replace the hidden states of a batch."""
        self._batches[batch].copy_(states)


def _mapped(total: int, dtype: torch.dtype) -> Tensor:
    with tempfile.NamedTemporaryFile(prefix="emo-prune-hidden-") as file:
        try:
            file.truncate(total * dtype.itemsize)
            _reserve(file.fileno(), total * dtype.itemsize)
        except OSError as error:
            raise NotEnoughDisk(
                "there is no room for the hidden states",
                where=Path(file.name).parent,
                got=error.strerror,
                expected=f"{total * dtype.itemsize:,} bytes",
                hint="set TMPDIR to another disk, raise --max-memory, or calibrate on "
                "fewer examples with --num-examples",
            ) from None
        return torch.from_file(file.name, shared=True, size=total, dtype=dtype)


def _reserve(descriptor: int, num_bytes: int) -> None:
    """Reserve the blocks: to write where the disk is full would end the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, num_bytes)
