"""How the command line writes parameters and commands: `--keep 16`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from emo_prune.errors import Command, Parameter, Wording
from emo_prune.options import Declared, Options, declared, verbs

NAMES = {"evaluate": "eval"}  # of commands that are not called as their verbs


def option_types() -> tuple[type[Options], ...]:
    """Return the options of every command."""
    return tuple(
        found
        for found in vars(verbs).values()
        if isinstance(found, type) and issubclass(found, Options) and found.verb
    )


def command_line(running: type[Options] | None = None) -> Wording:
    """Return how a text is worded; a name is first looked up in what is running."""
    types = [*([running] if running else []), *option_types()]

    def wording(part: Parameter | Command) -> str:
        if isinstance(part, Command):
            name = NAMES.get(part.verb, part.verb)
            own = [one for one in option_types() if one.verb == part.verb]
            given = (Parameter(*item) for item in part.given.items())
            words = [_parameter(one, [*own, *types]) for one in given]
            return " ".join(["emo-prune", name, *words])
        return _parameter(part, types)

    return wording


def _parameter(part: Parameter, types: list[type[Options]]) -> str:
    found = next((one for one in _named(part.name, types)), None)
    flag = found.flags[0] if found and found.flags else ""
    if found is None:
        flag = f"--{part.name.replace('_', '-')}"
    positive, _, negative = flag.partition("/")
    if part.value is False and negative:
        return negative
    if part.value is True or (part.value is None and positive):
        return positive
    value = part.name.upper() if part.value is None else _quoted(str(part.value))
    return f"{positive} {value}".strip()


def _named(name: str, types: list[type[Options]]) -> Iterator[Declared]:
    for one in types:
        yield from (found for found in declared(one) if found.name == name)


def _quoted(value: str) -> str:
    return shlex.quote(value) if any(letter.isspace() for letter in value) else value
