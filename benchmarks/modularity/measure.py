"""Measure what pruning for one domain costs, where experts are modules and where not.

    python benchmarks/modularity/measure.py WORK --json FILE

WORK holds the text (corpus.py) and the models, each under its variant's name. Results
of models that FILE has already are kept, so that others can be added later:
`--only dense`. The dense and the small model are measured whole only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cells import (
    Bench,
    check_export,
    measure_matrix,
    measure_random,
    measure_subsets,
    measure_whole,
    note,
)
from settings import FULL, Settings, quick
from summary import summary

SCHEMA = "emo-prune/benchmark-modularity/1"
PRUNED = ("emo", "standard")
WHOLE = ("dense", "small-standard")
RECORD = "emo_prune.json"


def measure(name: str, work: Path, settings: Settings) -> Mapping[str, Any]:
    """Return all that is measured of one model."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(
            checkpoint=work / name, work=work, files=Path(folder), settings=settings
        )
        found: dict[str, Any] = {
            "model": facts(bench),
            "whole": measure_whole(bench),
        }
        if name in PRUNED:
            found["export_check"] = check_export(bench)
            found["matrix"] = measure_matrix(bench)
            found["subsets"] = measure_subsets(bench)
            found["random"] = measure_random(bench)
    found["summary"] = summary(found)
    found["seconds"] = round(time.perf_counter() - began, 1)
    return found


def facts(bench: Bench) -> Mapping[str, Any]:
    """Return what tells a model from the others."""
    found: dict[str, Any] = {
        "model_type": bench.model.config.model_type,
        "parameters": bench.model.num_parameters(),
        "num_experts": bench.num_experts,
        "top_k": bench.top_k,
    }
    record = bench.checkpoint / RECORD
    if record.is_file():
        training = json.loads(record.read_text(encoding="utf-8"))
        found["training"] = {key: training[key] for key in ("steps", "tokens", "final")}
    return found


def exists(checkpoint: Path) -> bool:
    """Tell whether a model has been trained to its end."""
    return (checkpoint / "config.json").is_file()


def text_digest(work: Path) -> str:
    """Return a hash of the text that calibrates and tests."""
    digest = hashlib.sha256()
    for part in ("calibration", "test"):
        for file in sorted((work / part).glob("*.jsonl")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def merge(file: Path, head: Mapping[str, Any], name: str, found: Any) -> None:
    """Add a model's results to a file, beside those of other models.

    The file is read again for each, so that two measurements can go on side by side.
    """
    document: dict[str, Any] = {**head, "models": {}}
    if file.is_file():
        document = json.loads(file.read_text(encoding="utf-8"))
        refuse_mixture(file, document, head)
    document["models"][name] = found
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}")
    partial.write_text(json.dumps(document) + "\n", encoding="utf-8")
    partial.replace(file)


def refuse_mixture(
    file: Path, document: Mapping[str, Any], head: Mapping[str, Any]
) -> None:
    """End the program if a file's results were measured in another way."""
    changed = [key for key, value in head.items() if document.get(key) != value]
    if changed:
        sys.exit(f"{file} holds results of other {', '.join(changed)}: remove it first")


def parsed() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder of text and models")
    parser.add_argument("--json", type=Path, required=True, help="results go here")
    parser.add_argument(
        "--only",
        action="append",
        choices=(*PRUNED, *WHOLE),
        help="measure this model; may be repeated (default: all that are there)",
    )
    parser.add_argument("--score", default=FULL.score, help="as in emo-prune select")
    parser.add_argument(
        "--greedy",
        action=argparse.BooleanOptionalAction,
        default=FULL.greedy,
        help="choose layer by layer",
    )
    parser.add_argument("--quick", action="store_true", help="try it, on little text")
    return parser.parse_args()


def main() -> None:
    """Measure and save one model after the other."""
    options = parsed()
    settings = replace(FULL, score=options.score, greedy=options.greedy)
    settings = quick(settings) if options.quick else settings
    there = [name for name in (*PRUNED, *WHOLE) if exists(options.work / name)]
    names = options.only or there
    if not names or not set(names) <= set(there):
        sys.exit(f"models in {options.work}: {', '.join(there) or 'none'}")
    head = {
        "schema": SCHEMA,
        "settings": settings.to_json(),
        "text_sha256": text_digest(options.work),
    }
    if options.json.is_file():  # before the work, not after it
        document = json.loads(options.json.read_text(encoding="utf-8"))
        refuse_mixture(options.json, document, head)
    for name in names:
        note(f"== {name}")
        found = measure(name, options.work, settings)
        merge(options.json, head, name, found)
        note(f"== {name}: {found['seconds']} s")


if __name__ == "__main__":
    main()
