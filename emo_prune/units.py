"""Sizes as people write and read them: decimal units, as disks and the Hub count."""

from __future__ import annotations

import re

from emo_prune.errors import Parameter, SettingsError

_SIZE = re.compile(r"\s*(\d{1,18}(?:\.\d+)?)\s*([KMGT]?)B?\s*", re.IGNORECASE)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def format_bytes(num_bytes: float) -> str:
    """Return "3.25 GB" and the like."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(num_bytes) < 1000:
            return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.2f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.2f} TB"


def format_count(number: float) -> str:
    """Return "13.57 B" (billions), "7.1 M" and the like."""
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return f"{number:.0f}"


def parse_bytes(size: str | int, where: Parameter = Parameter("max_shard_size")) -> int:
    """Read "5GB", "500 MB" or a number of bytes; `where` is whose, for errors.

    Raises:
        SettingsError: it is none of these, or not above zero.
    """
    found = _SIZE.fullmatch(str(size))
    number = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if number <= 0:
        raise SettingsError(
            "this is not a size",
            where=where,
            got=f"{size!r:.200}",
            expected="a number with KB, MB or GB",
            hint=("try ", Parameter(where.name, "5GB")),
        )
    return number
