"""Every option is declared once, and none that a user has typed is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from emo_prune.cli.app import COMMANDS, app
from emo_prune.cli.wording import option_types
from emo_prune.options import declared

# What version 0.1 had. A new option need not be here; one that is here stays.
KEPT: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("options.json").read_text()
)


def parameters(command: str) -> dict[str, Any]:
    """Return a command's parameters by their longest flag, arguments by their name."""
    found = typer.main.get_command(app).get_command(None, command)  # type: ignore[attr-defined]
    return {
        max(one.opts, key=len)
        if one.param_type_name == "option"
        else one.name.upper(): one
        for one in found.params
    }


@pytest.mark.parametrize("command", KEPT)
def test_options_of_earlier_versions_are_kept(command: str) -> None:
    now = parameters(command)
    for flag, before in KEPT[command].items():
        assert flag in now, flag
        one = now[flag]
        if one.param_type_name == "option":
            assert set(before["flags"]) <= {*one.opts, *one.secondary_opts}, flag
        assert one.envvar == before["variable"], flag
        multiple = bool(getattr(one, "multiple", False) or one.nargs == -1)
        assert multiple == before["multiple"], flag
        if "default" in before:
            assert str(one.default) == before["default"], flag


def test_every_command_shows_its_options() -> None:
    for command in COMMANDS:
        for one in parameters(command).values():
            assert one.help, (command, one.name)


def test_one_name_means_one_flag() -> None:
    flags: dict[str, set[str]] = {}
    for options in option_types():
        for one in declared(options):
            if one.flags:
                flags.setdefault(one.name, set()).add(one.flags[0])
    assert {name: found for name, found in flags.items() if len(found) > 1} == {}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_option_that_is_given_twice_is_dropped(
    command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    from emo_prune.cli import main

    for flag, one in parameters(command).items():
        if one.param_type_name != "option" or getattr(one, "multiple", False):
            continue
        if one.name == "help":
            continue
        value = [] if one.is_flag else ["1"]
        code = main([command, flag, *value, flag, *value])
        assert code == 2, flag
        assert "given 2 times" in capfd.readouterr().err
