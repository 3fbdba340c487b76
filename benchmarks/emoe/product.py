"""Run emo-prune as its users do."""

from __future__ import annotations

import subprocess
import sys


def emo_prune(*arguments: object) -> None:
    """Run a command of emo-prune to its end.

    Raises:
        CalledProcessError: it failed; it has said why.
    """
    command = [sys.executable, "-m", "emo_prune", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
