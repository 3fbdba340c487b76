"""Write docs/cli.md from the help texts: `python docs/write_cli_page.py`."""

from __future__ import annotations

import html
import os
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).with_name("cli.md")


def cli_page() -> str:
    """Return the page as Typer renders it."""
    command = [
        sys.executable, "-m", "typer", "emo_prune.cli.app", "utils", "docs",
        "--name", "emo-prune", "--title", "The command line",
    ]  # fmt: skip
    plain = {**os.environ, "TERM": "dumb", "TERMINAL_WIDTH": "88", "NO_COLOR": "1"}
    plain.pop("GITHUB_ACTIONS", None)  # Typer colours its output there
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=plain
    )
    lines = html.unescape(done.stdout).splitlines()
    return "\n".join(line.rstrip() for line in lines).strip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(cli_page(), encoding="utf-8")
