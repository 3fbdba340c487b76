"""What handles bytes and choices is light, and nothing needs one system alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import emo_prune

PACKAGE = Path(emo_prune.__file__).parent
LIGHT = ("checkpoint", "architectures", "selection", "exports", "carving", "options")
ONE_SYSTEM = {"fcntl", "msvcrt", "resource", "termios", "pwd", "grp", "winreg"}
HEAVY = ("torch", "transformers", "lm_eval", "datasets")


def modules(package: str) -> list[str]:
    """Return the modules of a package, by their full names."""
    return [
        ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        )
        for file in sorted((PACKAGE / package).rglob("*.py"))
    ]


@pytest.mark.parametrize("package", LIGHT)
def test_importing_what_handles_bytes_imports_nothing_heavy(package: str) -> None:
    code = f"""
import importlib, sys
for name in {modules(package)!r}:
    importlib.import_module(name)
sys.exit(str([name for name in {HEAVY!r} if name in sys.modules] or ""))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert not done.stderr.strip(), done.stderr


def test_no_module_needs_what_only_one_system_has() -> None:
    wanted = {
        (str(file.relative_to(PACKAGE)), name)
        for file in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        for name in _imported(node)
    }
    assert {one for one in wanted if one[1] in ONE_SYSTEM} == set()


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []
