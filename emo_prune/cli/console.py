"""The two consoles: results go to stdout, everything else to stderr.

What is printed may hold names from checkpoints, tasks and files of anybody's. Here, and
nowhere else, it is made harmless: control characters are shown, not sent.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from emo_prune.errors import EmoPruneError, Worded, Wording
from emo_prune.progress import SILENT, Advance, Progress
from emo_prune.units import format_bytes

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress as Bars

_NARROWEST = 100  # columns of a table that goes to a file or a pipe
_SILENCE = 10.0  # seconds without a word, off a terminal

# C0 but for tab and newline, DEL, C1, and what turns the direction of text about.
_UNSAFE = [*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0)]
_UNSAFE += [0x061C, *range(0x200E, 0x2010), *range(0x2028, 0x202F)]
_UNSAFE += [*range(0x2066, 0x206A)]
_SHOWN: Mapping[int, str] = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _UNSAFE
}
_IN_JSON = {code: f"\\u{code:04x}" for code in _UNSAFE}


def shown(text: str) -> str:
    """Return a text with its control characters written out."""
    return text.translate(_SHOWN)


def table(renderable: RenderableType) -> None:
    """Print a table to stdout."""
    from rich.segment import Segment, Segments

    console = _console(sys.stdout)
    segments = [
        Segment(shown(one.text), one.style, one.control)
        for one in console.render(renderable)
    ]
    console.print(Segments(segments), end="")


def document(text: str) -> None:
    """Print a JSON document to stdout."""
    sys.stdout.write(text.rstrip("\n").translate(_IN_JSON) + "\n")
    sys.stdout.flush()


def result(text: str) -> None:
    """Print a line to stdout."""
    print(shown(text), flush=True)


def note(text: str) -> None:
    """Print a line to stderr."""
    print(shown(text), file=sys.stderr, flush=True)


def error(problem: EmoPruneError, wording: Wording) -> None:
    """Print a named error and what to try to stderr."""
    from emo_prune.errors import worded

    note(f"error: {problem.facts(wording)}")
    if hint := worded(problem.remedy, wording):
        note(f"hint: {hint}")


def is_silent() -> bool:
    """Tell whether this is one of several processes, and not the one that speaks."""
    if not os.environ.get("RANK"):
        return False  # without an import
    from emo_prune.routing import current_ranks

    return current_ranks().rank != 0


def progress() -> Progress:
    """Return who tells of progress: nobody, in all processes but the first."""
    return SILENT if is_silent() else ConsoleProgress()


class ConsoleProgress:
    """Prints steps and progress to stderr: a bar on a terminal, else now and then."""

    def say(self, text: str) -> None:
        """Print a step."""
        if isinstance(text, Worded):
            from emo_prune.cli.wording import command_line

            text = text.in_words(command_line())
        note(text)

    @contextmanager
    def track(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        """Show progress, with its rate and how long the rest will take."""
        if sys.stderr.isatty():
            with _bars(unit) as bars:
                task = bars.add_task(shown(label), total=total)
                yield lambda amount: bars.advance(task, amount)
            return
        pace = _Pace(label, total, unit)
        yield pace.advance
        pace.end()


class _Pace:
    """Tells, off a terminal, how far something has come."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        self._label = label
        self._total = total
        self._unit = unit
        self._done = 0
        self._started = self._told = time.monotonic()

    def advance(self, amount: int) -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._told < _SILENCE or not 0 < self._done < self._total:
            return
        self._told = now
        left = (self._total - self._done) * (now - self._started) / self._done
        note(
            f"{self._label}: {_amount(self._done, self._unit)} of "
            f"{_amount(self._total, self._unit)}, about {left:.0f} s left"
        )

    def end(self) -> None:
        seconds = max(time.monotonic() - self._started, 1e-9)
        note(
            f"{self._label}: {_amount(self._total, self._unit)} in {seconds:.1f} s "
            f"({_amount(self._total / seconds, self._unit)}/s)"
        )


def _bars(unit: str) -> Bars:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    amount: list[ProgressColumn] = [DownloadColumn(), TransferSpeedColumn()]
    if unit != "bytes":
        amount = [MofNCompleteColumn(), TextColumn(unit)]
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *amount,
        TimeRemainingColumn(),
        console=_console(sys.stderr),
    )


def _amount(number: float, unit: str) -> str:
    return format_bytes(number) if unit == "bytes" else f"{number:,.0f} {unit}"


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    console = Console(file=stream, highlight=False, markup=False)
    if not stream.isatty() and console.width < _NARROWEST:
        console.width = _NARROWEST
    return console
