"""No option that is given twice is dropped without a word."""

from __future__ import annotations

import pytest

from emo_prune.cli.wording import NAMES, option_types
from emo_prune.options import Declared, declared
from tests.cli.conftest import Run

OPTIONS = [
    (NAMES.get(options.verb, options.verb), one)
    for options in option_types()
    for one in declared(options)
    if one.flags and not one.option.repeatable
]


def once(one: Declared, flag: str) -> list[str]:
    """The option as it is typed, with a value of its kind."""
    if one.kind is bool:
        return [flag]
    if isinstance(one.kind, tuple):
        return [flag, str(one.kind[0])]
    return [flag, "1"]


@pytest.mark.parametrize(
    ("command", "one"), OPTIONS, ids=[f"{name} {one.name}" for name, one in OPTIONS]
)
def test_an_option_given_twice_is_a_usage_error(
    run: Run, command: str, one: Declared
) -> None:
    flags = [part for flag in one.flags for part in flag.split("/")]
    for first, second in zip(flags, flags[1:] + flags[:1], strict=True):
        refused = run(command, *once(one, first), *once(one, second))
        assert refused.code == 2, refused.err
        assert "given 2 times" in refused.err
        assert not refused.out
