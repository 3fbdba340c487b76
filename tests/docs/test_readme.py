"""The README says what is so."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def filler(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script that fills the README's marked parts."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    path = REPOSITORY / "benchmarks/readme.py"
    spec = importlib.util.spec_from_file_location("readme_filler", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_figures_and_architectures_are_those_measured_and_supported(
    filler: Any,
) -> None:
    for page, parts in filler.pages().items():
        text = page.read_text(encoding="utf-8")
        assert filler.filled(text, parts) == text, "run: python benchmarks/readme.py"


def test_the_two_commands_install_with_constraints() -> None:
    commands = re.findall(r"^    (python3 -m venv .*)$", README, re.MULTILINE)
    assert len(commands) == 2
    for command, last in zip(commands, ("emo-prune quickstart", "pytest"), strict=True):
        assert "pip install -c constraints.txt" in command
        assert command.endswith(f" && {last}")  # .ci/run finds and runs them by this


def test_every_file_the_readme_points_at_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (REPOSITORY / target).exists(), target


def test_every_command_of_the_readme_exists() -> None:
    from emo_prune.cli.app import COMMANDS

    used = set(re.findall(r"`?emo-prune ([a-z]+)", README)) - {"works"}
    assert used <= set(COMMANDS), used - set(COMMANDS)
