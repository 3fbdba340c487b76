"""The one way to hear how far the work has come, and to stop it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Protocol, Self

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


class Interruptible:
    """Passes progress on, and ends the work for good at Ctrl-C or SIGTERM.

    A signal's handler runs in the midst of whatever the main thread is doing. If that
    is a finaliser, or a function that C code has called, the exception is printed
    ("Exception ignored in ...") and lost; a library may swallow it as well. So it is
    remembered here, and raised again at the next step or advance that is told of.

    A context manager: it remembers signals while it is entered. In other threads than
    the main one it only passes on.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._replaced: dict[int, Callable[[int, FrameType | None], object]] = {}
        self._raise_again: Callable[[], object] | None = None

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.getsignal(number)
            if callable(before):  # else the system ends the process, or nothing does
                try:
                    signal.signal(number, self._remember)
                except ValueError:  # not the main thread, which alone hears signals
                    return self
                self._replaced[number] = before
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, before in self._replaced.items():
            signal.signal(number, before)
        if kind is None or not issubclass(kind, KeyboardInterrupt | SystemExit):
            self.check()

    def check(self) -> None:
        """Raise what a signal had raised, if one has come and it was lost."""
        is_on_its_way = isinstance(sys.exception(), KeyboardInterrupt | SystemExit)
        if self._raise_again is not None and not is_on_its_way:
            self._raise_again()

    def say(self, text: str) -> None:
        """Pass it on."""
        self.check()
        self._progress.say(text)

    @contextmanager
    def track(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        """Pass it on."""
        self.check()
        with self._progress.track(label, total, unit) as advance:

            def advance_or_raise(amount: int) -> None:
                self.check()
                advance(amount)

            yield advance_or_raise

    def _remember(self, number: int, frame: FrameType | None) -> None:
        before = self._replaced[number]
        self._raise_again = lambda: before(number, None)
        before(number, frame)
