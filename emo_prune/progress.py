"""Who is told how far the work has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], None]


class Watcher:
    """Hears of steps and progress; this one keeps silent, the console's own prints."""

    def say(self, text: str) -> None:
        """Hear of a step, or of something worth knowing."""

    @contextmanager
    def track(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        """Yield a function that is told of each advance; `total` units are all."""
        del label, total, unit
        yield lambda _: None
