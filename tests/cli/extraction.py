"""What the tests of `extract` share: the two ways to the same checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cli.conftest import Run


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by its relative name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def two_steps(run: Run, model: Path, examples: Path, *flags: object) -> None:
    """Select greedily in memory and export, into `two/`."""
    done = run(
        *("select", "-m", model, "--examples", examples, "--greedy", "--no-stream"),
        *flags, "-o", "two",
    )  # fmt: skip
    assert done.code == 0, done.err
    done = run("export", "-m", model, "-s", "two/selection.json")
    assert done.code == 0, done.err


def extracted(run: Run, model: object, examples: Path, *flags: object) -> Any:
    """Extract into `one/checkpoint`."""
    done = run(
        "extract", "-m", model, "--examples", examples, *flags, "--json",
        "-o", "one/checkpoint",
    )  # fmt: skip
    assert done.code == 0, done.err
    return done.json
