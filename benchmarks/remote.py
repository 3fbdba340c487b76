"""Count the bytes that `emo-prune extract --remote` moves, against its result.

    python benchmarks/remote.py -o benchmarks/results/remote.json

The Hub is a server on loopback that speaks its endpoints and counts what it sends. Two
tasks are carved one after the other with one cache of ranges. What one would do
otherwise is to download the checkpoint, so its size stands beside the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.command_line import (
    Document,
    Row,
    emo_prune,
    finish,
    make_model,
    note,
    parser,
    work_folder,
)
from benchmarks.measurement import budget, folder_bytes, machine, run, versions

KEEP = "12.5%"
AT_MOST_RESULT = 1.1
TASKS: Mapping[str, Sequence[str]] = {
    "cooking": (
        "Stir the lentils until the onions are soft, then add two cups of stock.",
        "Fold the whites into the batter in three turns and bake it at once.",
    ),
    "code": (
        "def area(width: float, height: float) -> float:\n    return width * height\n",
        "for index, name in enumerate(names):\n    print(index, name.title())\n",
    ),
}


def measure(options: argparse.Namespace) -> Document:
    """Return the document of one benchmark."""
    from tests.hub_server import serving

    with work_folder(options) as folder:
        model = options.checkpoint or make_model(folder, options.layers)
        tasks: Document = {}
        with serving(model) as hub:
            lead_there(hub.url, folder / "hub-cache")
            for name, texts in TASKS.items():
                hub.shard_bytes = hub.other_bytes = 0
                result = extract(folder, name, texts)
                tasks[name] = {
                    "shard_bytes_moved": hub.shard_bytes,
                    "other_bytes_moved": hub.other_bytes,
                    "result_bytes": result,
                }
        source = folder_bytes(model)
    first = tasks["cooking"]
    moved = first["shard_bytes_moved"] + first["other_bytes_moved"]
    ratio = moved / first["result_bytes"]
    return {
        "schema": "emo-prune/benchmark-remote/1",
        "source_bytes": source,
        "tasks": tasks,
        "ratios": {
            "moved_to_result": round(ratio, 4),
            "moved_to_source": round(moved / source, 4),
        },
        "budgets": {"bytes moved, in the result's": budget(ratio, AT_MOST_RESULT)},
        "machine": machine(),
        "versions": versions(),
    }


def lead_there(url: str, cache: Path) -> None:
    """Lead the commands' Hub client to a server and an empty cache."""
    os.environ |= {
        "HF_ENDPOINT": url,
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }


def extract(folder: Path, name: str, texts: Sequence[str]) -> int:
    """Run the real command; return the size of what it wrote."""
    examples = folder / f"{name}.jsonl"
    examples.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    note(f"extracting {name}")
    output = folder / name / "checkpoint"
    command: list[str | Path] = [emo_prune(), "extract", "--model", "org/name"]
    command += ["--remote", "--cache", folder / "ranges", "--examples", examples]
    run("extract", [*command, "--keep", KEEP, "-o", output], folder / "cache")
    return folder_bytes(output)


def rows(document: Document) -> list[Row]:
    """Return the table."""
    found: list[Row] = [("", "moved", "result")]
    for name, facts in document["tasks"].items():
        moved = facts["shard_bytes_moved"] + facts["other_bytes_moved"]
        found.append((name, f"{moved:,}", f"{facts['result_bytes']:,}"))
    return [*found, ("source", "", f"{document['source_bytes']:,}")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure, print."""
    made = parser(__doc__, repeat=1, layers=2)
    made.add_argument("--checkpoint", type=Path, help="a checkpoint that is there")
    options = made.parse_args(arguments)
    if options.checkpoint and not options.checkpoint.is_dir():
        made.error(f"--checkpoint: there is no folder {options.checkpoint}")
    return finish(measure, rows, options)


if __name__ == "__main__":
    sys.exit(main())
