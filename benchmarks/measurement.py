"""Measure commands: wall clock, processor time and peak memory of each process.

Only the standard library is imported here and by the scripts that measure: the kernel
counts the memory of the process that starts a command into the command's own peak, so
that process has to stay small.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class BenchmarkError(Exception):
    """A benchmark cannot give a figure; says which step failed, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One command, once. Seconds, and bytes; `stdout` and `stderr` as text."""

    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    stdout: str
    stderr: str

    @property
    def figures(self) -> dict[str, float]:
        """The numbers alone, rounded to what a clock can tell."""
        facts = asdict(self)
        del facts["stdout"], facts["stderr"]
        return {name: round(value, 4) for name, value in facts.items()}


def run(step: str, command: Sequence[str | Path], cache: Path) -> Run:
    """Run a command to its end and measure it.

    `cache` is the cache folder it sees, so that a benchmark leaves the user's alone.

    Raises:
        BenchmarkError: it cannot be started, or ends with a code other than 0.
    """
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        try:
            process = subprocess.Popen(command, stdout=out, stderr=err, env=environment)
        except OSError as error:
            raise BenchmarkError(f"{step} cannot be started: {error}") from None
        usage = _wait(process)
        wall = time.perf_counter() - began
        stdout, stderr = _text(out), _text(err)
    if process.returncode:
        lines = stderr.strip().splitlines()[-5:]
        raise BenchmarkError(
            f"{step} ended with code {process.returncode}: " + "\n".join(lines)
        )
    return Run(
        wall_s=wall,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_rss_bytes=usage.ru_maxrss * _RSS_UNIT,
        stdout=stdout,
        stderr=stderr,
    )


def touch_memory(num_bytes: int, cache: Path) -> None:
    """Use that much memory in a process that ends, just before a timed run.

    The host of a virtual machine takes free memory back, and its next use is several
    times slower than writing a file: whoever comes first would pay for all.
    """
    code = "import mmap, sys; m = mmap.mmap(-1, int(sys.argv[1])); "
    code += "m[::4096] = m[::4096]"
    run("touching memory", [sys.executable, "-c", code, str(num_bytes)], cache)


def read_through(file: Path) -> None:
    """Bring a file into the page cache."""
    buffer = bytearray(4 * 1024 * 1024)
    with file.open("rb", buffering=0) as opened:
        while opened.readinto(buffer):
            pass


def folder_bytes(folder: Path) -> int:
    """Return the bytes of a folder's files."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _wait(process: subprocess.Popen[bytes]) -> Any:
    """Wait for a process; return what the kernel counted for it alone."""
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage


def _text(file: Any) -> str:
    file.seek(0)
    raw: bytes = file.read()
    return raw.decode(errors="replace")


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the median times, the highest peak, and every run."""
    return {
        "wall_s": round(statistics.median(run.wall_s for run in runs), 4),
        "cpu_s": round(statistics.median(run.cpu_s for run in runs), 4),
        "peak_rss_bytes": max(run.peak_rss_bytes for run in runs),
        "runs": [run.figures for run in runs],
    }


def machine() -> dict[str, Any]:
    """Return what the figures depend on; nothing that names the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "memory_bytes": memory,
        "system": platform.system(),
        "processor": platform.machine(),
        "load_average": round(os.getloadavg()[0], 2),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that do the work."""
    packages = ("emo-prune", "safetensors", "torch", "transformers", "typer")
    found = {name: metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **found}


def budget(got: float, limit: float) -> dict[str, Any]:
    """Return a figure beside the most it may be."""
    return {"got": round(got, 4), "at_most": limit, "met": got <= limit}


def missed(budgets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the names of the budgets that were not met."""
    return [name for name, facts in budgets.items() if not facts["met"]]


def save(document: Mapping[str, Any], file: Path) -> None:
    """Write a benchmark's document as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def read_json(file: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds."""
    value: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return value
