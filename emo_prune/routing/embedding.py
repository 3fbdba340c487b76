"""Hidden states before the first layer, from only the embedding rows that occur."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from emo_prune.architectures import MoEModel
from emo_prune.architectures.subset import rows
from emo_prune.checkpoint import Tensor as StoredTensor
from emo_prune.errors import CheckpointError, LayoutMismatch
from emo_prune.models.skeleton import Skeleton
from emo_prune.routing.batches import Batch, check_vocabulary
from emo_prune.routing.hidden import HiddenStates
from emo_prune.routing.weights import HeldBytes


def embed(
    model: MoEModel, skeleton: Skeleton, batches: Sequence[Batch], max_bytes: int
) -> HiddenStates:
    """Look up the tokens of all batches; over `max_bytes` of them lie on disk.

    Raises:
        CheckpointError: a token id has no embedding.
        LayoutMismatch: the checkpoint has no embedding.
        NotEnoughDisk: there is no room for the hidden states.
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
    """Return room for the hidden states of all batches."""
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
        if tensor.name.removesuffix(".weight").split(".")[-1] in names:
            return tensor
    raise LayoutMismatch(
        "the checkpoint has no embedding",
        where=model.checkpoint.name,
        expected=f"a tensor called {names[0]}.weight",
        hint="the checkpoint is incomplete; download it again",
    )
