"""Run a command; every way it can end has an exit code."""

from __future__ import annotations

import io
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType

from emo_prune.cli import console
from emo_prune.cli.command import Running
from emo_prune.errors import EmoPruneError

INTERRUPTED = 130
BUG = 70


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 done; 1 a named error; 2 usage; 3 a check failed; 70 our bug; 130 interrupted.
    """
    previous = _stop_on_termination()
    _print_any_name()
    try:
        from emo_prune.cli.app import app

        given = sys.argv[1:] if arguments is None else list(arguments)
        app(args=current_spelling(given), prog_name="emo-prune", standalone_mode=True)
    except EmoPruneError as error:
        from emo_prune.cli.wording import command_line

        console.error(error, command_line(Running.options))
        return error.exit_code
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # Typer's own answer to Ctrl-C
            console.note("interrupted")
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except KeyboardInterrupt:
        console.note("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone; there is nobody to tell
        return 0
    except OSError as error:  # a file or a disk that fails us is no bug of ours
        console.note(f"error: {error}")
        console.note("hint: check that the file is there, its permissions and the disk")
        return EmoPruneError.exit_code
    except Exception:  # noqa: BLE001 - the one place; it ends in exit code 70
        console.note(traceback.format_exc().rstrip())
        console.note(
            "this is a bug in emo-prune; please report it with the lines above"
        )
        return BUG
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)
    return 0


def _print_any_name() -> None:
    """Show what a stream cannot encode: names that are no UTF-8, or a narrow pipe."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _stop_on_termination() -> signal.Handlers | None:
    """Let SIGTERM unwind the stack as Ctrl-C does, so that partial output goes."""

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        raise SystemExit(128 + number)

    try:
        previous = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread: whoever owns it decides
        return None
    return previous if isinstance(previous, signal.Handlers) else signal.SIG_DFL


def current_spelling(arguments: Sequence[str]) -> list[str]:
    """Return arguments as they are written now.

    `select --scores FILE` is `reselect FILE`, `carve --as dense` is `restore --dense`.
    """
    if arguments[:1] == ["select"]:
        file, rest = _taken(arguments[1:], "--scores")
        if file is not None:
            return ["reselect", file, *rest]
    if arguments[:1] == ["carve"]:
        form, rest = _taken(arguments[1:], "--as")
        if form in ("dense", "emoe"):
            return [*(["restore", "--dense"] if form == "dense" else ["carve"]), *rest]
    return list(arguments)


def _taken(arguments: Sequence[str], flag: str) -> tuple[str | None, list[str]]:
    """Return the value of a flag, None without one, and the arguments without both."""
    for place, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument.startswith(f"{flag}="):
            value = argument.partition("=")[2]
            return value, [*arguments[:place], *arguments[place + 1 :]]
        if argument == flag and place + 1 < len(arguments):
            rest = [*arguments[:place], *arguments[place + 2 :]]
            return arguments[place + 1], rest
    return None, list(arguments)
