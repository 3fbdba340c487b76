"""Errors as the command line words them."""

from __future__ import annotations

from emo_prune.cli.wording import command_line
from emo_prune.errors import EmoPruneError, worded


def hint_of(error: EmoPruneError) -> str:
    """The hint, with flags."""
    return worded(error.remedy, command_line())
