"""A layer's FFN in pieces, and whole again: bytes change place and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_prune.carving.balanced import Labels
from emo_prune.checkpoint import DTYPES, Tensor

Raw = NDArray[Any]


def as_array(raw: bytes, dtype: str, shape: tuple[int, ...]) -> Raw:
    """Return a tensor's bytes as an array of opaque elements, whatever its dtype."""
    return np.frombuffer(raw, f"u{DTYPES[dtype].bits // 8}").reshape(shape)


def as_numbers(raw: Raw, dtype: str) -> NDArray[np.floating]:
    """Return the numbers that opaque elements of a floating-point dtype stand for."""
    if dtype == "BF16":  # the upper half of a float32
        wide = raw.astype("<u4")
        wide <<= 16
        return wide.view("<f4")
    return raw.view({"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype])


def neurons_of(labels: Labels, num_experts: int) -> NDArray[np.int32]:
    """Return the neurons of each expert, ascending: [experts, size]."""
    order = np.argsort(labels, kind="stable").astype("<i4")
    return order.reshape(num_experts, -1)


def piece(whole: Raw, neurons: NDArray[np.int32], axis: int) -> bytes:
    """Return the bytes of an expert's part of a tensor."""
    return np.take(whole, neurons, axis=axis).tobytes()


def joined(pieces: list[Raw], neurons: NDArray[np.int32], axis: int) -> bytes:
    """Return the bytes of a tensor that was cut into pieces along an axis.

    `neurons` [experts, size] says where each piece's parts belong.
    """
    back = np.argsort(neurons.reshape(-1))
    return np.take(np.concatenate(pieces, axis=axis), back, axis=axis).tobytes()


def piece_shape(tensor: Tensor, axis: int, size: int) -> tuple[int, ...]:
    """Return the shape of an expert's part of a tensor."""
    return tuple(size if i == axis else n for i, n in enumerate(tensor.shape))
