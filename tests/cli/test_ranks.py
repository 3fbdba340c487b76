"""Several processes select what one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.mark.parametrize("flags", [["--no-stream"], ["--stream", "--greedy"]])
def test_two_processes_select_what_one_does(
    run: Run, texts: Path, emo: Path, flags: list[str]
) -> None:
    arguments = ("-m", emo, "--examples", texts, "-k", "4", "--batch-size", "1", *flags)
    assert run("select", *arguments, "-o", "one").code == 0
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
        "-m", "emo_prune", "select", *map(str, arguments), "-o", "two",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    one, two = Path("one/selection.json"), Path("two/selection.json")
    assert one.read_bytes() == two.read_bytes()
    assert done.stderr.count("wrote two/selection.json") == 1
