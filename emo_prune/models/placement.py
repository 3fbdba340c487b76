"""Where a model may be put: devices, number formats, free memory; light to import."""

from __future__ import annotations

from pathlib import Path

import psutil

from emo_prune.errors import Parameter, SettingsError
from emo_prune.options.values import check_device, check_dtype

_CONTAINER = Path("/sys/fs/cgroup")  # version 2, as a container sees its own


def check_placement(device: str | None, dtype: str) -> None:
    """Refuse a device or dtype before anything is downloaded or computed.

    Args:
        device: "cpu", "cuda", "cuda:1", "auto", or None for a GPU if there is one.
        dtype: "auto", "float32", "bfloat16" or "float16".

    Raises:
        SettingsError: no such name, or this machine has no such device.
    """
    check_dtype(dtype)
    number = None if device is None else check_device(device)
    if number is not None:
        _check_cuda(str(device), number)


def free_memory() -> int:
    """Return the bytes of memory that can be had without swapping.

    In a container that is what its own limit leaves, where that is less.
    """
    free = int(psutil.virtual_memory().available)
    try:
        limit = int((_CONTAINER / "memory.max").read_text())
        used = int((_CONTAINER / "memory.current").read_text())
    except (OSError, ValueError):  # no container, or one without a limit
        return free
    return min(free, max(0, limit - used))


def _check_cuda(device: str, number: int) -> None:
    import torch  # only now: the names above need none of it

    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if number >= found:
        raise SettingsError(
            "the device cannot be used",
            where=Parameter("device"),
            got=device,
            expected=f"one of the {found} GPUs that torch finds"
            if found
            else "cpu: torch finds no GPU",
            hint=("try ", Parameter("device", "cpu")),
        )
