"""Where a model may be put: devices, number formats, free memory; light to import."""

from __future__ import annotations

import re
from pathlib import Path

import psutil

from emo_prune.errors import SettingsError

DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICES = "cpu, cuda, cuda:N or auto"

_CONTAINER = Path("/sys/fs/cgroup")  # version 2, as a container sees its own
_CUDA = re.compile(r"cuda(?::(0|[1-9][0-9]{0,3}))?")


def check_placement(device: str | None, dtype: str) -> None:
    """Refuse a device or dtype before anything is downloaded or computed.

    Args:
        device: "cpu", "cuda", "cuda:1", "auto", or None for a GPU if there is one.
        dtype: one of `DTYPES`.

    Raises:
        SettingsError: no such name, or this machine has no such device.
    """
    if dtype not in DTYPES:
        raise SettingsError(
            "there is no such dtype",
            where="--dtype",
            got=repr(dtype),
            expected=", ".join(DTYPES),
            hint="try --dtype auto",
        )
    if device in (None, "cpu", "auto"):
        return
    named = _CUDA.fullmatch(str(device))
    if named is None:
        raise SettingsError(
            "the device is none that models are run on here",
            where="--device",
            got=repr(device),
            expected=DEVICES,
            hint="try --device cpu",
        )
    _check_cuda(str(device), int(named[1] or 0))


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
            where="--device",
            got=device,
            expected=f"one of the {found} GPUs that torch finds"
            if found
            else "cpu: torch finds no GPU",
            hint="try --device cpu",
        )
