"""Time `emo-prune --help`, and `emo-prune inspect` on a checkpoint of 128 experts.

    python benchmarks/startup.py -o benchmarks/results/startup.json

The checkpoint has the released EMO shape and real headers, but holes for weights. In
the same run: the bare interpreter, and what one does without the tool, which is to
build the model on the meta device and count its parameters.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.command_line import (
    Document,
    Row,
    emo_prune,
    finish,
    note,
    parser,
    script,
    work_folder,
)
from benchmarks.measurement import (
    BenchmarkError,
    Run,
    budget,
    machine,
    run,
    summary,
    versions,
)

HEAVY = ("torch", "transformers", "lm_eval")
AT_MOST = {"help": 0.5, "inspect": 1.0}

Command = list[str | Path]


def measure(options: argparse.Namespace) -> Document:
    """Return the document of one benchmark."""
    with work_folder(options) as folder:
        note(f"making a checkpoint of {options.layers} layers, headers alone")
        model, cache = folder / "model", folder / "cache"
        command = [*script("make_checkpoint"), model, "--sparse"]
        run("making it", [*command, "--layers", str(options.layers)], cache)
        before = machine()
        runs = time_in_turns(commands(model), options.repeat, cache)
        heavy = {
            "help": heavy_imports(["--help"], cache),
            "inspect": heavy_imports(["inspect", model], cache),
        }
    document = describe(runs, heavy, before)
    return {"schema": "emo-prune/benchmark-startup/1", "layers": options.layers} | (
        document
    )


def commands(model: Path) -> dict[str, Command]:
    """Return what is timed, by name."""
    return {
        "python": [sys.executable, "-c", "pass"],
        "help": [emo_prune(), "--help"],
        "inspect": [emo_prune(), "inspect", model, "--json"],
        "transformers": [*script("count_parameters"), model],
    }


def time_in_turns(
    timed: dict[str, Command], repeat: int, cache: Path
) -> dict[str, list[Run]]:
    """Time the commands one after the other, `repeat` times; the first is not counted.

    Raises:
        BenchmarkError: a command fails, or two disagree on the model's parameters.
    """
    runs: dict[str, list[Run]] = {name: [] for name in timed}
    for number in range(repeat + 1):
        note(f"{number}/{repeat}" if number else "warming up")
        for name, command in timed.items():
            done = run(name, command, cache)
            if number:
                runs[name].append(done)
    ours = json.loads(runs["inspect"][0].stdout)["num_parameters"]
    theirs = int(runs["transformers"][0].stdout)
    if ours != theirs:
        raise BenchmarkError(f"inspect counts {ours} parameters, transformers {theirs}")
    return runs


def heavy_imports(arguments: Sequence[str | Path], cache: Path) -> list[str]:
    """Return the modules of torch, transformers and lm-eval that a command imports."""
    python = [sys.executable, "-X", "importtime", "-m", "emo_prune"]
    trace = run("import trace", [*python, *arguments], cache).stderr
    lines = [line for line in trace.splitlines() if line.startswith("import time:")]
    modules = [line.rsplit("|", 1)[1].strip() for line in lines]
    if "emo_prune.cli" not in modules:
        raise BenchmarkError("the trace of imports does not name emo_prune.cli")
    return [module for module in modules if module.split(".")[0] in HEAVY]


def describe(
    runs: dict[str, list[Run]], heavy: dict[str, list[str]], before: Document
) -> Document:
    """Return what was measured."""
    document: Document = {name: summary(done) for name, done in runs.items()}
    budgets = {}
    for name, modules in heavy.items():
        document[name]["heavy_imports"] = modules
        budgets[f"{name}, seconds"] = budget(document[name]["wall_s"], AT_MOST[name])
        budgets[f"{name}, modules of torch and the like"] = budget(len(modules), 0)
    parameters = int(runs["transformers"][0].stdout)
    document["inspect"]["num_parameters"] = parameters
    document["transformers"]["num_parameters"] = parameters
    times = document["transformers"]["wall_s"] / document["inspect"]["wall_s"]
    return document | {
        "ratios": {"transformers_to_inspect": round(times, 3)},
        "budgets": budgets,
        "machine": {**before, "load_average_after": machine()["load_average"]},
        "versions": versions(),
    }


def rows(document: Document) -> list[Row]:
    """Return the table."""
    found: list[Row] = [("", "wall", "peak RSS")]
    for name in ("python", "help", "inspect", "transformers"):
        facts = document[name]
        peak = f"{facts['peak_rss_bytes'] / 1e6:,.0f} MB"
        found.append((name, f"{facts['wall_s']:.3f} s", peak))
    for name, facts in document["budgets"].items():
        found.append((name, f"{facts['got']:.4g}", f"at most {facts['at_most']:g}"))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure, print."""
    made = parser(__doc__, repeat=9, layers=16)
    options = made.parse_args(arguments)
    if options.repeat < 1:
        made.error("--repeat must be at least 1")
    return finish(measure, rows, options)


if __name__ == "__main__":
    sys.exit(main())
