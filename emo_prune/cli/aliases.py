"""Old spellings of commands, kept for a release: two that had two jobs each."""

from __future__ import annotations

from collections.abc import Sequence


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
