"""Whether floats are twice others: the verifier's own arithmetic, not the writer's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def is_double(got: bytes, want: bytes, dtype: str) -> bool:
    """Tell whether each little-endian float of `got` is finite and twice `want`'s."""
    with np.errstate(all="ignore"):  # a damaged export may hold anything
        doubled = 2 * _float64(want, dtype)
        # As bytes: zeros of either sign are equal, and must not be.
        same = _float64(got, dtype).tobytes() == doubled.tobytes()
    return same and bool(np.isfinite(doubled).all())


def _float64(raw: bytes, dtype: str) -> npt.NDArray[np.float64]:
    if dtype == "BF16":
        padded = np.zeros((len(raw) // 2, 2), dtype="<u2")
        padded[:, 1] = np.frombuffer(raw, "<u2")
        return padded.view("<f4")[:, 0].astype(np.float64)
    kind = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype]
    return np.frombuffer(raw, kind).astype(np.float64)
