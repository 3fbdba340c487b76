"""Defaults from `emo-prune.toml` or `[tool.emo-prune]` in `pyproject.toml`.

They stand behind flags and EMO_PRUNE_* variables and before built-in defaults. A key
is the name of an option's variable in lower case (`keep` for EMO_PRUNE_KEEP); it holds
for every command that has the option.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emo_prune.cli.wording import NAMES, option_types
from emo_prune.errors import SettingsError
from emo_prune.files import strict_toml
from emo_prune.options import Declared, Options, declared

FILE = "emo-prune.toml"
_JSON = "json"  # of the command line alone: no verb has it


def defaults(folder: Path, command: str) -> dict[str, Any]:
    """Return the settings of a working folder that are options of a command.

    Raises:
        SettingsError: the file is not TOML, no command has such an option, or a value
            is a table.
    """
    settings = _settings(folder)
    if not settings:
        return {}
    known = {_JSON}.union(*(_keys(one) for one in option_types()))
    for key in settings:
        if key not in known:
            raise _unknown(key, known)
    own: dict[str, Declared] = {}
    for options in option_types():
        if NAMES.get(options.verb, options.verb) == command:
            own = _keys(options)
    found = {one.name: settings[key] for key, one in own.items() if key in settings}
    for key, one in own.items():
        if key in settings and one.option.repeatable:
            found[one.name] = [settings[key]]
    return {**found, _JSON: settings[_JSON]} if _JSON in settings else found


def _keys(options: type[Options]) -> dict[str, Declared]:
    return {
        one.variable.removeprefix("EMO_PRUNE_").lower(): one
        for one in declared(options)
        if one.variable is not None
    }


def _unknown(key: str, known: set[str]) -> SettingsError:
    close = difflib.get_close_matches(key, known, n=1)
    return SettingsError(
        "no command has such an option",
        where=f"{FILE} or pyproject.toml",
        got=key.replace("_", "-"),
        hint=f"did you mean {close[0].replace('_', '-')}?"
        if close
        else "see emo-prune select --help for the names",
    )


def _settings(folder: Path) -> dict[str, Any]:
    own = folder / FILE
    if own.is_file():
        return _plain(_load(own), own)
    project = folder / "pyproject.toml"
    if project.is_file():
        tools = _load(project).get("tool")
        section = tools.get("emo-prune", {}) if isinstance(tools, dict) else {}
        return _plain(section, project)
    return {}


def _load(path: Path) -> dict[str, Any]:
    try:
        return strict_toml(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(
            "the settings file is not valid TOML",
            where=path.name,
            got=str(error),
            hint="mend it, or remove it",
        ) from None


def _plain(section: object, path: Path) -> dict[str, Any]:
    if not isinstance(section, Mapping):
        raise SettingsError(
            "the settings are not a table",
            where=f"{path.name}, [tool.emo-prune]",
            got=type(section).__name__,
            hint='write a line below [tool.emo-prune]: keep = "25%"',
        )
    settings = {}
    for key, value in section.items():
        if isinstance(value, dict | list):
            raise SettingsError(
                "a setting is one value, not a table or a list",
                where=path.name,
                got=key,
                hint='write it as: keep = "25%"',
            )
        # Options are parsed from text, wherever they come from.
        plain = value if isinstance(value, bool) else str(value)
        settings[str(key).replace("-", "_")] = plain
    return settings
