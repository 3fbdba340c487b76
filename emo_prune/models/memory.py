"""How much memory is free."""

from __future__ import annotations

from pathlib import Path

import psutil

_CONTAINER = Path("/sys/fs/cgroup")  # version 2, as a container sees its own


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
