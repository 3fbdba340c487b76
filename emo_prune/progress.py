"""The one way to hear how far the work has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Hears of steps and progress: every verb takes one as `progress=`."""

    def say(self, text: str) -> None:
        """Hear of a step, or of something worth knowing."""

    def track(
        self, label: str, total: int, unit: str
    ) -> AbstractContextManager[Advance]:
        """Give a function that is told of each advance; `total` units are all."""


class Silent:
    """Hears everything and shows nothing."""

    def __repr__(self) -> str:
        return "SILENT"

    def say(self, text: str) -> None:
        """Show nothing."""

    @contextmanager
    def track(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        """Show nothing."""
        del label, total, unit
        yield lambda _: None


SILENT = Silent()
