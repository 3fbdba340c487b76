"""Options that exclude one another: what was typed beats what a variable says."""

from __future__ import annotations

from typing import Any

import typer


def typed(context: typer.Context, name: str) -> bool:
    """Tell whether a parameter was given on the command line itself."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def one_of(context: typer.Context, **values: Any) -> tuple[Any, ...]:
    """Return the values of options that exclude one another, in the order given.

    If some of them were typed, those that come from a variable or a settings file
    step aside.
    """
    if any(typed(context, name) for name in values):
        return tuple(v if typed(context, n) else None for n, v in values.items())
    return tuple(values.values())
