"""Write the text that the checkpoint of the quickstart is trained on.

    python benchmarks/worlds/text.py WORK

Every document follows from the world's name, a number and the seed: WORK/<world>.jsonl.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.worlds import WORLDS, document

SEED = 0


def main() -> None:
    """Write the same number of characters for each world."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--characters", type=int, default=2_500_000)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    for world in WORLDS:
        lines = (
            json.dumps({"text": text, "domain": world}) + "\n"
            for text in texts(world, arguments.characters)
        )
        file = arguments.work / f"{world}.jsonl"
        file.write_text("".join(lines), encoding="utf-8")


def texts(world: str, characters: int) -> Iterator[str]:
    """Yield a world's documents until there are so many characters."""
    for index in count():
        if characters <= 0:
            return
        text = document(world, index, SEED)
        characters -= len(text)
        yield text


if __name__ == "__main__":
    main()
