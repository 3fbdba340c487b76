"""Hidden states of all calibration tokens between two layers, in memory or on disk.

`embed` makes those before the first layer, from the embedding rows that occur.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from emo_prune.architectures import MoEModel
from emo_prune.architectures.subset import rows
from emo_prune.checkpoint import Tensor as StoredTensor
from emo_prune.errors import CheckpointError, LayoutMismatch, NotEnoughDisk, Parameter
from emo_prune.models.skeleton import Skeleton
from emo_prune.routing.calibration import Batch, check_vocabulary
from emo_prune.routing.weights import HeldBytes


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
        self._flat = (
            _mapped(total, dtype) if self.on_disk else torch.empty(total, dtype=dtype)
        )
        parts = torch.split(self._flat, sizes) if sizes else ()
        self._batches: list[Tensor] = [
            part.view(shape) for part, shape in zip(parts, shapes, strict=True)
        ]

    @property
    def raw(self) -> npt.NDArray[np.uint8]:
        """All of them as they lie in memory, to be saved and filled again."""
        raw: npt.NDArray[np.uint8] = self._flat.view(torch.uint8).numpy()
        return raw

    def __getitem__(self, batch: int) -> Tensor:
        """Return the hidden states of a batch; they share the storage."""
        return self._batches[batch]

    def __setitem__(self, batch: int, states: Tensor) -> None:
        """Replace the hidden states of a batch."""
        self._batches[batch].copy_(states)


def embed(
    model: MoEModel, skeleton: Skeleton, batches: Sequence[Batch], max_bytes: int
) -> HiddenStates:
    """Look up the tokens of all batches; over `max_bytes` of them lie on disk.

    Raises:
        CheckpointError: a token id has no embedding.
        LayoutMismatch: the checkpoint has no embedding.
        NotEnoughDisk: the hidden states do not fit on the disk.
    """
    table = _table(model, "embed_tokens", "wte")
    check_vocabulary(batches, table.shape[0])
    hidden = empty_states(skeleton, batches, max_bytes)
    if not batches:  # another process has them all
        return hidden
    occurring = torch.unique(torch.cat([b.input_ids.flatten() for b in batches]))
    weights = _read_rows(model, table, occurring)
    longest = max(batch.input_ids.shape[1] for batch in batches)
    positions = _positions(model, longest) if skeleton.has_positions else None
    for number, batch in enumerate(batches):
        places = torch.searchsorted(occurring, batch.input_ids)
        length = batch.input_ids.shape[1]
        added = None if positions is None else positions[:length]
        hidden[number] = skeleton.embed(weights, places, added)
    return hidden


def empty_states(
    skeleton: Skeleton, batches: Sequence[Batch], max_bytes: int
) -> HiddenStates:
    """Return hidden states of all batches that are yet to be filled."""
    width = int(skeleton.model.config.hidden_size)
    shapes = [(*batch.input_ids.shape, width) for batch in batches]
    return HiddenStates(shapes, skeleton.dtype, max_bytes)


def _positions(model: MoEModel, length: int) -> Tensor:
    """Return the rows of the table of positions for sequences of some length."""
    table = _table(model, "wpe")
    if length > table.shape[0]:
        raise CheckpointError(
            "an example is longer than the model's context",
            where=table.name,
            got=f"{length} tokens",
            expected=f"at most {table.shape[0]}",
            hint="correct max_position_embeddings in config.json",
        )
    return _read_rows(model, table, torch.arange(length))


def _read_rows(model: MoEModel, table: StoredTensor, ids: Tensor) -> Tensor:
    wanted = rows(table, ids.tolist())
    held = HeldBytes(model.checkpoint.source)
    held.read([wanted])
    return held.tensor(wanted)


def _table(model: MoEModel, *names: str) -> StoredTensor:
    for tensor in model.other:
        *_, module, part = ("", *tensor.name.split("."))
        if module in names and part == "weight":
            return tensor
    raise LayoutMismatch(
        "the checkpoint has no embedding",
        where=model.checkpoint.name,
        expected=f"a tensor called {names[0]}.weight",
        hint="the checkpoint is incomplete; download it again",
    )


def _mapped(total: int, dtype: torch.dtype) -> Tensor:
    with tempfile.NamedTemporaryFile(prefix="emo-prune-hidden-") as file:
        try:
            file.truncate(total * dtype.itemsize)
            _reserve(file.fileno(), total * dtype.itemsize)
        except OSError as error:
            raise NotEnoughDisk(
                "the hidden states do not fit on the disk",
                where=Path(file.name).parent,
                got=error.strerror,
                expected=f"{total * dtype.itemsize:,} bytes",
                hint=(
                    *("set TMPDIR to another disk, raise ", Parameter("max_memory")),
                    *(", or calibrate on fewer examples with ",),
                    Parameter("num_examples"),
                ),
            ) from None
        return torch.from_file(file.name, shared=True, size=total, dtype=dtype)


def _reserve(descriptor: int, num_bytes: int) -> None:
    # To write where the disk is full would end the process without a word.
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, num_bytes)
