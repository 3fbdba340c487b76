"""Divide real text of twelve domains: to train on, to calibrate with, to measure on.

    python benchmarks/modularity/corpus.py WORK

Reads `$EMO_PRUNE_DATA_DIR/corpora`. A document's part follows from the hash of its id,
so that none is in two: WORK/train/, WORK/calibration/, WORK/test/, each with a JSONL
file per domain.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOMAINS = (
    "chemistry",
    "code_python",
    "cooking",
    "history",
    "law",
    "literature",
    "mathematics",
    "medicine",
    "philosophy",
    "psychology",
    "religion",
    "unix",
)
TRAIN_CHARACTERS = 1_800_000  # of each domain, so that none outweighs the others
PARTS = ("train", "calibration", "test")


def main() -> None:
    """Write the three parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    work = parser.parse_args().work
    data = os.environ.get("EMO_PRUNE_DATA_DIR")
    if not data or not (Path(data) / "corpora").is_dir():
        sys.exit("EMO_PRUNE_DATA_DIR must name a folder with corpora/ in it")
    for domain in DOMAINS:
        write_domain(Path(data) / "corpora" / f"{domain}.jsonl.gz", domain, work)


def write_domain(source: Path, domain: str, work: Path) -> None:
    """Write a domain's documents in the order of their hashes."""
    rows = sorted(documents(source), key=lambda row: digest(row["id"]))
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for row in rows:
        parts[part_of(row["id"])].append(row["text"])
    parts["train"] = list(up_to(parts["train"], TRAIN_CHARACTERS))
    for part, texts in parts.items():
        file = work / part / f"{domain}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({"text": text, "domain": domain}) for text in texts]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def documents(source: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file."""
    with gzip.open(source, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def digest(identity: str) -> bytes:
    """Return the hash that decides where a document goes."""
    return hashlib.sha256(identity.encode()).digest()


def part_of(identity: str) -> str:
    """Return a document's part: of ten, eight train, one calibrates, one tests."""
    return {0: "calibration", 1: "test"}.get(digest(identity)[-1] % 10, "train")


def up_to(texts: list[str], characters: int) -> Iterator[str]:
    """Yield texts until there are enough characters."""
    total = 0
    for text in texts:
        if total >= characters:
            return
        total += len(text)
        yield text


if __name__ == "__main__":
    main()
