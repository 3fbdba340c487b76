"""Defaults from `emo-prune.toml` or `[tool.emo-prune]` in `pyproject.toml`.

They stand behind flags and EMO_PRUNE_* variables and before built-in defaults. A key
is the name of an option's variable in lower case (`keep` for EMO_PRUNE_KEEP); it holds
for every command that has the option.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emo_prune.errors import SettingsError

FILE = "emo-prune.toml"


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of a working folder, keys as option names.

    Raises:
        SettingsError: the file is not TOML, or a value is a table.
    """
    own = folder / FILE
    if own.is_file():
        return _normal(_load(own), own)
    project = folder / "pyproject.toml"
    if project.is_file():
        tools = _load(project).get("tool")
        section = tools.get("emo-prune", {}) if isinstance(tools, dict) else {}
        return _normal(section, project)
    return {}


def defaults_by_command(
    settings: Mapping[str, Any], commands: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, Any]]:
    """Return, for each command, the settings that are options of it.

    `commands` maps, for each command, the options' names to its parameters'.

    Raises:
        SettingsError: no command has an option of that name.
    """
    everything = {name for options in commands.values() for name in options}
    for key in settings:
        if key not in everything:
            close = difflib.get_close_matches(key, everything, n=1)
            raise SettingsError(
                "no command has such an option",
                where=f"{FILE} or pyproject.toml",
                got=key.replace("_", "-"),
                hint=f"did you mean {close[0].replace('_', '-')}?"
                if close
                else "see emo-prune select --help for the names",
            )
    return {
        command: {options[key]: v for key, v in settings.items() if key in options}
        for command, options in commands.items()
    }


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            "the settings file is not valid TOML",
            where=path.name,
            got=str(error),
            hint="mend it, or remove it",
        ) from None


def _normal(section: Any, path: Path) -> dict[str, Any]:
    if not isinstance(section, dict):
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
        settings[key.replace("-", "_")] = plain
    return settings
