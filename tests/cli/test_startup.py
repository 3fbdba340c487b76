"""Light commands stay light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "lm_eval", "datasets", "scipy")
# What the lightest do without, besides.
LESS = ("numpy", "msgspec", "huggingface_hub", "importlib.resources")
LIGHT = """
import sys
from emo_prune.cli import main
code = main({arguments!r})
loaded = [name for name in {heavy!r} if name in sys.modules]
print("code", code, "loaded", loaded, file=sys.stderr)
"""


@pytest.mark.parametrize("command", ["help", "inspect", "export", "verify", "carve"])
def test_commands_on_bytes_import_nothing_heavy(
    command: str, exported: Path, emo: Path, dense: Path
) -> None:
    arguments = {
        "help": ["--help"],
        "inspect": ["inspect", str(emo)],
        "export": ["export", "-s", str(exported.parent / "selection.json"),
                   "-m", str(emo), "-o", "again"],
        "verify": ["verify", str(exported), "--source", str(emo)],
        "carve": ["carve", str(dense), "-o", "carved", "-n", "8"],
    }[command]  # fmt: skip
    code = LIGHT.format(arguments=arguments, heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "code 0 loaded []" in done.stderr


@pytest.mark.parametrize("command", ["help", "inspect"])
def test_help_and_inspect_import_next_to_nothing(command: str, emo: Path) -> None:
    arguments = ["inspect", str(emo), "--json"] if command == "inspect" else ["--help"]
    unneeded = (*HEAVY, *LESS) if command == "help" else (*HEAVY, *LESS, "rich")
    code = LIGHT.format(arguments=arguments, heavy=unneeded)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "code 0 loaded []" in done.stderr


def test_inspect_prints_one_json_document(run: object, goldens: Path) -> None:
    outcome = run("inspect", goldens / "emo_densefirst", "--json")  # type: ignore[operator]
    assert outcome.code == 0
    facts = outcome.json
    assert facts["num_layers"] == 4
    assert facts["num_moe_layers"] == 3
    assert facts["num_experts"] == 16
    assert facts["num_shared_experts"] == 1
    assert facts["num_experts_per_tok"] == 4
    assert facts["dtypes"] == {"F32": facts["num_bytes"]}
    assert [size["num_experts"] for size in facts["sizes"]] == [8, 4, 2]
    assert [size["routable"] for size in facts["sizes"]] == [True, True, False]


def test_inspected_sizes_are_those_of_the_export(
    run: object, exported: Path, emo: Path
) -> None:
    facts = run("inspect", emo, "--json").json  # type: ignore[operator]
    half = next(size for size in facts["sizes"] if size["share"] == 0.5)
    export = run("inspect", exported, "--json").json  # type: ignore[operator]
    assert export["num_bytes"] == half["num_bytes"]
