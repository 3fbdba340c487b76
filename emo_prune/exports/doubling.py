"""Floating-point numbers times two, bit for bit exact."""

from __future__ import annotations

import numpy as np

from emo_prune.checkpoint import Tensor
from emo_prune.errors import NotExact

_FLOATS = {"F64": np.float64, "F32": np.float32, "F16": np.float16}


def double(raw: bytes, tensor: Tensor) -> bytes:
    """Return little-endian floats times two, bit for bit exact.

    Raises:
        NotExact: a value overflows, or the dtype is not a float this can double.
    """
    if tensor.dtype == "BF16":
        # The upper half of a float32; doubling leaves the lower half zero.
        wide = (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
        with np.errstate(all="ignore"):
            twice = wide + wide
        result: bytes = (twice.view("<u4") >> 16).astype("<u2").tobytes()
    elif tensor.dtype in _FLOATS:
        values = np.frombuffer(raw, np.dtype(_FLOATS[tensor.dtype]).newbyteorder("<"))
        with np.errstate(all="ignore"):
            twice = values + values
        result = twice.tobytes()
    else:
        raise _not_doubled(tensor, f"dtype {tensor.dtype}")
    if not np.isfinite(twice).all():
        raise _not_doubled(tensor, "a value too large to be doubled")
    return result


def _not_doubled(tensor: Tensor, got: str) -> NotExact:
    return NotExact(
        "the shared expert cannot be doubled exactly",
        where=tensor.name,
        got=got,
        expected="finite bf16, f16, f32 or f64 values",
        hint="leave out --as: the export then keeps the layout of the source",
    )
