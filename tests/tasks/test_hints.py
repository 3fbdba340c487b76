"""Every error of the room says what to try next."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import emo_prune.errors
from emo_prune import evaluation, models, routing, tasks

_NAMES = {
    name
    for name, value in vars(emo_prune.errors).items()
    if isinstance(value, type) and issubclass(value, Exception)
} | {"error"}  # the class that `reading` is given


def _sources() -> Iterator[Path]:
    for room in (tasks, models, routing, evaluation):
        assert room.__file__
        yield from sorted(Path(room.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("source", tuple(_sources()), ids=lambda path: path.name)
def test_every_error_has_a_hint(source: Path) -> None:
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id in _NAMES:
            hint = [word.value for word in node.keywords if word.arg == "hint"]
            assert hint, f"{source.name}:{node.lineno}"
