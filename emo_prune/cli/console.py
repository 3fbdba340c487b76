"""The two consoles: results go to stdout, everything else to stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from emo_prune.errors import EmoPruneError
from emo_prune.progress import Advance, Watcher

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_NARROWEST = 100  # columns of a table that goes to a file or a pipe


def table(renderable: RenderableType) -> None:
    """Print a table to stdout."""
    _console(sys.stdout).print(renderable)


def document(text: str) -> None:
    """Print a JSON document to stdout."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def result(text: str) -> None:
    """Print a line to stdout."""
    print(text, flush=True)


def note(text: str) -> None:
    """Print a line to stderr."""
    print(text, file=sys.stderr, flush=True)


def error(problem: EmoPruneError) -> None:
    """Print a named error and its hint to stderr."""
    note(f"error: {problem}")
    if problem.hint:
        note(f"hint: {problem.hint}")


class ConsoleWatcher(Watcher):
    """Prints steps and progress to stderr: a bar on a terminal, else a line a step."""

    def say(self, text: str) -> None:
        """Print a step."""
        note(text)

    @contextmanager
    def track(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        """Show progress, with its rate and how long the rest will take."""
        if sys.stderr.isatty():
            with _bar(unit) as bar:
                task = bar.add_task(label, total=total)
                yield lambda amount: bar.advance(task, amount)
            return
        started = time.monotonic()
        yield lambda _: None
        seconds = max(time.monotonic() - started, 1e-9)
        note(
            f"{label}: {_amount(total, unit)} in {seconds:.1f} s "
            f"({_amount(total / seconds, unit)}/s)"
        )


def is_silent() -> bool:
    """Tell whether this is one of several processes, and not the one that speaks."""
    from emo_prune.routing import current_ranks

    return current_ranks().rank != 0


def watcher() -> Watcher:
    """Return who tells of progress: nobody, in all processes but the first."""
    return Watcher() if is_silent() else ConsoleWatcher()


def _bar(unit: str) -> Any:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    amount: Any = (DownloadColumn(), TransferSpeedColumn())
    if unit != "bytes":
        amount = (MofNCompleteColumn(), TextColumn(unit))
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *amount,
        TimeRemainingColumn(),
        console=_console(sys.stderr),
    )


def _amount(number: float, unit: str) -> str:
    if unit == "bytes":
        from emo_prune.reports.units import format_bytes

        return format_bytes(number)
    return f"{number:,.0f} {unit}"


def _console(stream: Any) -> Console:
    from rich.console import Console

    console = Console(file=stream, highlight=False)
    if not stream.isatty() and console.width < _NARROWEST:
        console.width = _NARROWEST
    return console
