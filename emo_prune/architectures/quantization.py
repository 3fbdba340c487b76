"""Quantisation settings, and the modules they name: dropped ones go, others move."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from emo_prune.errors import LayoutMismatch

_LITERAL = re.compile(
    r"^(?P<head>.*\blayers\.(?P<layer>\d{1,6})\..*\bexperts\.)(?P<expert>\d{1,6})(?P<tail>$|\..*)$"
)
# An expert id inside a regular expression cannot be renumbered safely.
_ID_IN_PATTERN = re.compile(r"(?<!_)experts(\\\.|\.|\[\.\])[(\[]?(\?(:|P<\w+>))?\d")
_PREFIXES = ("re:", "-:", "+:")
_KEYS = ("quantization_config", "quantization")


def quantization_key(config: Mapping[str, Any]) -> str | None:
    """Return under which key a config says how weights are quantised; None if none."""
    return next((key for key in _KEYS if config.get(key) is not None), None)


def prune_quantization(
    config: dict[str, Any], kept: Mapping[int, Sequence[int]]
) -> None:
    """Renumber, in place, the expert ids in a config's quantisation settings.

    Covers lists such as `ignore` and `modules_to_not_convert`, and settings whose
    keys are module names.

    Raises:
        LayoutMismatch: a regular expression names experts by number.
    """
    for key in _KEYS:
        if isinstance(config.get(key), dict):
            config[key] = _prune(config[key], kept)


def _prune(value: Any, kept: Mapping[int, Sequence[int]]) -> Any:
    if isinstance(value, dict):
        renamed = {_rename(key, kept): _prune(v, kept) for key, v in value.items()}
        return {key: v for key, v in renamed.items() if key is not None}
    if isinstance(value, list):
        return [v for item in value if (v := _prune(item, kept)) is not None]
    if isinstance(value, str):
        return _rename(value, kept)
    return value


def _rename(name: str, kept: Mapping[int, Sequence[int]]) -> str | None:
    """Return a module's name with its expert's new id; None if the expert is gone."""
    found = _LITERAL.match(name)
    if found and not name.startswith(_PREFIXES):
        ids = list(kept.get(int(found["layer"]), ()))
        expert = int(found["expert"])
        if expert not in ids:
            return None
        return f"{found['head']}{ids.index(expert)}{found['tail']}"
    if _ID_IN_PATTERN.search(name):
        raise LayoutMismatch(
            "the quantisation settings name experts inside a pattern",
            where="config.json, quantization_config",
            got=name,
            expected="module names without a pattern",
            hint="export the unquantised checkpoint and quantise the export",
        )
    return name
