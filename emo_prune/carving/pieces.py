"""A dense model's FFNs in pieces, one of each expert: cut, found again, joined.

Bytes change their place and nothing else.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_prune.architectures.feed_forward import (
    NEURONS,
    FeedForward,
    check_layers,
    feed_forward_size,
)
from emo_prune.carving.clustering import Labels
from emo_prune.carving.dense import (
    NUMBER,
    DenseLayer,
    DenseModel,
    describe_dense,
    feed_forward_of,
)
from emo_prune.checkpoint import DTYPES, Checkpoint, Tensor
from emo_prune.errors import CarvingError, Command, LayoutMismatch

Raw = NDArray[np.unsignedinteger[Any]]
Neurons = NDArray[np.int32]

_PIECE = re.compile(rf"^(?P<stem>.+\.)experts\.(?P<expert>{NUMBER})\.(?P<part>.+)$")
_Pieces = Mapping[str, Mapping[int, Tensor]]  # by part, by expert


def expert_name(layer: DenseLayer, expert: int, part: str) -> str:
    """Return the name of an expert's tensor on disk."""
    return f"{layer.stem}experts.{expert}.{part}"


def as_array(raw: bytes, dtype: str, shape: tuple[int, ...]) -> Raw:
    """Return a tensor's bytes as an array of opaque elements, whatever its dtype."""
    array: Raw = np.frombuffer(raw, f"u{DTYPES[dtype].bits // 8}").reshape(shape)
    return array


def as_numbers(raw: Raw, dtype: str) -> NDArray[np.floating]:
    """Return the numbers that opaque elements of a floating-point dtype stand for."""
    if dtype == "BF16":  # the upper half of a float32
        wide = raw.astype("<u4")
        wide <<= 16
        return wide.view("<f4")
    return raw.view({"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype])


def neurons_of(labels: Labels, num_experts: int) -> Neurons:
    """Return the neurons of each expert, ascending: [experts, size]."""
    order = np.argsort(labels, kind="stable").astype("<i4")
    return order.reshape(num_experts, -1)


def piece(whole: Raw, neurons: Neurons, axis: int) -> bytes:
    """Return the bytes of an expert's part of a tensor."""
    return np.take(whole, neurons, axis=axis).tobytes()


def piece_shape(tensor: Tensor, axis: int, size: int) -> tuple[int, ...]:
    """Return the shape of an expert's part of a tensor."""
    return tuple(size if i == axis else n for i, n in enumerate(tensor.shape))


def joined(pieces: list[Raw], neurons: Neurons, axis: int) -> bytes:
    """Return the bytes of a tensor that was cut into pieces along an axis.

    `neurons` [experts, size] says where each piece's parts belong.
    """
    # The inverse of the permutation that the pieces, one after the other, are in.
    back = np.argsort(neurons.reshape(-1))
    return np.take(np.concatenate(pieces, axis=axis), back, axis=axis).tobytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class CutTensor:
    """A tensor of the dense model that lies in pieces, one of each expert.

    They were cut along `axis`; `neurons` [experts, size] are the places that their
    parts have in the tensor, which is nowhere on disk.
    """

    tensor: Tensor
    pieces: tuple[Tensor, ...]
    neurons: Neurons
    axis: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CarvedModel:
    """A carved checkpoint, and the dense model that it is when put together."""

    checkpoint: Checkpoint
    dense: DenseModel
    cut: tuple[CutTensor, ...]


def describe_carved(checkpoint: Checkpoint) -> CarvedModel:
    """Find the pieces of a carved checkpoint, and check that they are all there.

    Raises:
        CarvingError: it is not carved, or some neurons are missing.
        LayoutMismatch: config and tensors disagree.
    """
    config = checkpoint.config.get("dense_config")
    if checkpoint.config.get("model_type") != "emoe" or not isinstance(config, dict):
        raise CarvingError(
            "this is not a carved checkpoint",
            where=f"config.json of {checkpoint.name}",
            got=f"model_type {checkpoint.config.get('model_type')!r}",
            expected="model_type 'emoe', and a dense_config",
            hint=("give the folder that ", Command("carve"), " wrote"),
        )
    feed_forward = feed_forward_of(config)
    tensors: dict[str, Tensor] = {}  # of the dense model, in the order they lie in
    found: dict[str, dict[str, dict[int, Tensor]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for tensor in checkpoint.tensors.values():
        if at := _PIECE.match(tensor.name):
            found[at["stem"]][at["part"]][int(at["expert"])] = tensor
            if at["part"] != NEURONS:
                tensors.setdefault(at["stem"] + at["part"], tensor)
        else:
            tensors[tensor.name] = tensor
    cut = [
        one
        for stem, pieces in found.items()
        for one in _cut_tensors(checkpoint, stem, pieces, feed_forward)
    ]
    _refuse_doubled(checkpoint, cut)
    tensors |= {one.tensor.name: one.tensor for one in cut}
    dense = describe_dense(replace(checkpoint, config=config, tensors=tensors))
    check_layers(
        checkpoint.config,
        [layer.layer for layer in dense.layers if layer.stem in found],
    )
    return CarvedModel(checkpoint=checkpoint, dense=dense, cut=tuple(cut))


def _refuse_doubled(checkpoint: Checkpoint, cut: Sequence[CutTensor]) -> None:
    for one in cut:
        if one.tensor.name in checkpoint.tensors:
            raise LayoutMismatch(
                "a tensor is there whole and in pieces",
                where=one.tensor.name,
                got=f"the tensor, and {len(one.pieces)} experts' parts of it",
                expected="one of the two",
                hint="the checkpoint was edited; carve the dense one again",
            )


def _cut_tensors(
    checkpoint: Checkpoint, stem: str, pieces: _Pieces, feed_forward: FeedForward
) -> list[CutTensor]:
    """Return the tensors of one layer's FFN that lie in pieces."""
    neurons = _neurons(checkpoint, stem, pieces.get(NEURONS, {}))
    found = []
    for part, by_expert in pieces.items():
        if part == NEURONS:
            continue
        axis = feed_forward.axis(part)
        first = next(iter(by_expert.values()))
        kinds = {(tensor.dtype, tensor.shape) for tensor in by_expert.values()}
        complete = sorted(by_expert) == list(range(len(neurons))) and len(kinds) == 1
        if axis is None or first.shape[axis : axis + 1] != neurons.shape[1:]:
            complete = False
        if not complete:
            raise _odd_layer(stem, f"experts.*.{part} of {len(by_expert)} experts")
        found.append(_cut_tensor(stem + part, by_expert, neurons, axis or 0))
    return found


def _cut_tensor(
    name: str, by_expert: Mapping[int, Tensor], neurons: Neurons, axis: int
) -> CutTensor:
    pieces = tuple(by_expert[expert] for expert in sorted(by_expert))
    shape = list(pieces[0].shape)
    shape[axis] = neurons.size
    num_bytes = sum(tensor.num_bytes for tensor in pieces)
    dtype = pieces[0].dtype
    return CutTensor(
        tensor=Tensor(name, dtype, tuple(shape), "", 0, num_bytes),
        pieces=pieces,
        neurons=neurons,
        axis=axis,
    )


def _neurons(
    checkpoint: Checkpoint, stem: str, tensors: Mapping[int, Tensor]
) -> Neurons:
    """Return the numbers of each expert's neurons: each of the layer's, once."""
    config: Mapping[str, Any] = checkpoint.config["dense_config"]
    shapes = {(tensor.dtype, tensor.shape) for tensor in tensors.values()}
    if sorted(tensors) != list(range(len(tensors))) or len(shapes) != 1:
        raise _odd_layer(stem, f"experts.*.neurons of {len(tensors)} experts")
    dtype, shape = shapes.pop()
    if dtype != "I32" or len(shape) != 1:
        raise _odd_layer(stem, f"experts.*.neurons of {dtype} {list(shape)}")
    size = feed_forward_size(config)
    raw = [checkpoint.read(tensors[expert]) for expert in sorted(tensors)]
    neurons = as_array(b"".join(raw), dtype, (len(tensors), *shape)).view("<i4")
    if len(np.unique(neurons)) == neurons.size < size:
        raise CarvingError(
            "some experts are missing: this is a part of a carved model",
            where=f"{stem}experts",
            got=f"{neurons.size} of {size} neurons",
            expected="all of them",
            hint="put together the checkpoint that this one was pruned from",
        )
    numbers = np.arange(neurons.size)
    if neurons.size != size or (np.sort(neurons, axis=None) != numbers).any():
        raise _odd_layer(stem, "neurons that are not each number once")
    return neurons


def _odd_layer(stem: str, got: str) -> LayoutMismatch:
    return LayoutMismatch(
        "the pieces of a layer do not fit together",
        where=f"{stem}experts",
        got=got,
        expected="the same tensors of each expert, and each neuron's number once",
        hint="the checkpoint is incomplete or damaged; carve the dense one again",
    )
