"""Measure how modular a dense model is: carved, cut, and scored on real questions.

    python benchmarks/emoe/carved_accuracy.py MODEL --work-dir WORK -o RESULTS.json

Feed-forward layers are carved three ways: neurons clustered by their keys, as they lie
in the matrix, and at random. Scored are ARC-Easy by the number of experts that a token
uses; then, with half of them in use, the subsets that `emo-prune sweep` selects for
each task. What is finished is kept in WORK, so that an interrupted benchmark goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from product import emo_prune
from transformers import AutoModelForCausalLM, AutoTokenizer

from emo_prune.evaluation import Results, Scorer, compare, load_results
from emo_prune.files import versions, write_atomically
from emo_prune.tasks import TaskOptions, evaluation_set, parse_task

NUM_EXPERTS = 16
SOME = "16-28:2"  # every second layer of the upper half
TOP_K = {SOME: (12, 8, 4, 2), "all": (12, 8)}
METHODS = ("kmeans", "contiguous", "random")
SWEPT = {"kmeans": "frequency,random", "contiguous": "frequency", "random": "frequency"}
TASKS = "arc_easy,openbookqa,psychology"
KEEPS = "75%,50%,25%"


def by_top_k(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return ARC-Easy's accuracy for each way to carve and number of experts used."""
    cells = [
        (layers, method, top_k)
        for layers, several in TOP_K.items()
        for method in METHODS
        for top_k in several
    ]
    dense = _scored(options, "dense", options.model, None)
    found = []
    for layers, method, top_k in cells:
        folder = carved(options, layers, method)
        results = _scored(options, f"{folder.name}-{top_k}", folder, top_k)
        head = compare(results, dense).headline
        found.append(
            {
                "layers": layers,
                "method": method,
                "top_k": top_k,
                "accuracy": 100 * head.value,
                "from_dense": head.difference,
                "interval": head.interval,
                "n": head.n,
            }
        )
    whole = {"layers": None, "method": None, "top_k": NUM_EXPERTS}
    return [whole | {"accuracy": 100 * dense.value, "n": dense.n}, *found]


def carved(options: argparse.Namespace, layers: str, method: str) -> Path:
    """Return the model carved one way, half of the experts in use, and measured."""
    folder: Path = options.work_dir / f"{method}-{layers.replace(':', '-by-')}"
    if not folder.exists():
        emo_prune(
            "carve", options.model, "-o", folder, "--layers", layers,
            "--num-experts", NUM_EXPERTS, "--top-k", NUM_EXPERTS // 2,
            "--method", method, "--task", "arc_easy", "--data-dir", options.data_dir,
        )  # fmt: skip
    return folder


def by_kept_share(options: argparse.Namespace) -> dict[str, Any]:
    """Return the rows of a sweep over subsets for each way to carve."""
    found = {}
    for method, scores in SWEPT.items():
        output = options.work_dir / f"sweep-{method}"
        if not (output / "sweep.json").exists():
            emo_prune(
                "sweep", "-m", carved(options, SOME, method), "--tasks", TASKS,
                "--keep", KEEPS, "--scores", scores, "--lower-top-k", "--num-fewshot",
                0, "--answer", "text", "--limit", options.limit_swept, "--data-dir",
                options.data_dir, "-o", output,
            )  # fmt: skip
        swept = json.loads((output / "sweep.json").read_text())
        rows = [swept["full"], *swept["subsets"]]
        found[method] = [_row(row) for row in rows]
    return found


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a table shows of a row of sweep.json."""
    cells = {cell["task"]: cell for cell in row["cells"]} | {"mean": row["mean"]}
    return {
        "keep": row["keep"],
        "score": row["score"],
        "num_bytes": row["num_bytes"],
        "tasks": {
            name: {
                "accuracy": 100 * cell["value"],
                "difference": cell["difference"],
                "interval": cell["interval"],
                "n": cell["n"],
            }
            for name, cell in cells.items()
        },
    }


def modularity(options: argparse.Namespace) -> dict[str, Any]:
    """Return what `carve` measured in each layer: what picked experts hold."""
    found = {}
    for method in METHODS:
        file = carved(options, "all", method) / "carving.json"
        record = json.loads(file.read_text())
        found[method] = {
            "tightness": [layer["tightness"] for layer in record["layers"]],
            "num_tokens": record["measured"]["calibration"]["num_tokens"],
            "measured": record["measured"]["layers"],
        }
    return found


def _scored(
    options: argparse.Namespace, name: str, folder: Path, top_k: int | None
) -> Results:
    """Return the results of a model on ARC-Easy; under its name they are kept."""
    file = options.work_dir / f"{name}.results.json"
    if not file.exists():
        print(f"scoring {name}", file=sys.stderr, flush=True)
        _score(options, folder, top_k).save(file)
    return load_results(file)


def _score(options: argparse.Namespace, folder: Path, top_k: int | None) -> Results:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for gate in model.routers if top_k else ():
        gate.top_k = top_k
    questions = evaluation_set(
        parse_task("arc_easy"), TaskOptions(data_dir=options.data_dir), options.limit
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with Scorer(model, tokenizer) as scorer:
        return scorer.score(questions, folder.name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is not there yet, and write it all."""
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("model", type=Path, help="a dense checkpoint")
    made.add_argument("--work-dir", type=Path, required=True)
    made.add_argument("-o", "--output", type=Path, required=True)
    made.add_argument("--limit", type=int, default=300, help="questions by top-k")
    made.add_argument(
        "--limit-swept", type=int, default=200, help="questions of a task"
    )
    data = os.environ.get("EMO_PRUNE_DATA_DIR")
    made.add_argument("--data-dir", type=Path, default=data, required=data is None)
    options = made.parse_args(arguments)
    options.work_dir.mkdir(parents=True, exist_ok=True)
    document = {
        "schema": "emo-prune/benchmark-emoe/1",
        "num_experts": NUM_EXPERTS,
        "layers": SOME,
        "limit": options.limit,
        "limit_swept": options.limit_swept,
        "modularity": modularity(options),
        "by_top_k": by_top_k(options),
        "by_kept_share": by_kept_share(options),
        "versions": versions("emo-prune", "torch", "transformers", "lm-eval"),
    }
    write_atomically(options.output, json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
