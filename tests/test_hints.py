"""Every error of the package says what to try next."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import emo_prune
from emo_prune import errors

_NAMES = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.EmoPruneError)
} | {"error"}  # the class that `reading` is given

_ROOT = Path(emo_prune.__file__).parent
_SOURCES = sorted(path.relative_to(_ROOT).as_posix() for path in _ROOT.rglob("*.py"))


@pytest.mark.parametrize("source", _SOURCES)
def test_every_error_has_a_hint(source: str) -> None:
    for node in ast.walk(ast.parse((_ROOT / source).read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id in _NAMES:
            hint = [word.value for word in node.keywords if word.arg == "hint"]
            assert hint, f"{source}:{node.lineno}"
