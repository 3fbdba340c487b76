"""Numbers as a person reads them, with the JSON's own number behind them."""

from __future__ import annotations

import json

from emo_prune.reports.page.markup import Markup, tag

NONE = Markup("-")


def number(value: float | None, text: str | None = None) -> Markup:
    """Return `text` (or the number itself), which carries the JSON's exact number.

    The exact number sorts the table and shows when it is pointed at.
    """
    if value is None:
        return NONE
    exact = json.dumps(value)
    shown = f"{value:,}" if text is None else text
    return tag("data", shown, value=exact, title=exact)


def share(value: float | None) -> Markup:
    """Return a share of one in per cent."""
    return NONE if value is None else number(value, f"{value:.1%}")


def decimals(value: float | None, places: int, *, sign: bool = False) -> Markup:
    """Return a number with so many places, with its sign if that is asked for."""
    if value is None:
        return NONE
    return number(value, f"{value:+.{places}f}" if sign else f"{value:.{places}f}")


def code(value: object) -> Markup:
    """Return a hash, an id or a file's name, in the type of code."""
    return NONE if value is None else tag("code", value)
