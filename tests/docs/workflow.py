"""The workflow of docs/ci.md, and a checkout that its steps are run in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs/ci.md").read_text(encoding="utf-8")


def workflow() -> Any:
    """Return the page's only workflow."""
    (block,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return yaml.safe_load(block)


def steps() -> list[dict[str, Any]]:
    """Return the steps of its only job."""
    ((_, job),) = workflow()["jobs"].items()
    found: list[dict[str, Any]] = job["steps"]
    return found


def named(name: str) -> dict[str, Any]:
    """Return a step by its name."""
    (step,) = [step for step in steps() if step.get("name") == name]
    return step


@dataclass(frozen=True)
class Job:
    """A checkout with a tiny model, and what its steps have left there."""

    folder: Path
    env: dict[str, str]

    @property
    def summary(self) -> Path:
        return self.folder / "summary.md"

    def run(self, script: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a step's lines as GitHub does: bash -e on a file of them."""
        file = self.folder / "step.sh"
        file.write_text(script)
        return subprocess.run(
            ["bash", "-e", file],
            cwd=self.folder,
            env=self.env | env,
            capture_output=True,
            text=True,
            check=False,
        )


def checkout(folder: Path, **env: str) -> Job:
    """Return a job in a folder: emo-prune is installed, the environment is set."""
    shim = folder / "bin/emo-prune"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m emo_prune "$@"\n')
    shim.chmod(0o755)
    outer = {k: v for k, v in os.environ.items() if not k.startswith("EMO_PRUNE_")}
    own = {
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "XDG_CACHE_HOME": str(folder / ".cache"),
    }
    said = {k: str(v) for k, v in workflow()["env"].items()}
    return Job(folder, outer | said | own | env)
