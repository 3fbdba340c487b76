"""Measure what both checkpoints of the worlds know, whole and pruned, world by world.

    python benchmarks/worlds/accuracy.py -o benchmarks/results/worlds.json

For EMO and for its twin without pools, and for each of the ten worlds: experts are
chosen on questions of the validation split, exported, and held-out questions of the
test split scored, by the functions behind `emo-prune select`, `export` and `eval`.
Beside the world's own experts: those of the next world in the alphabet, and random
ones of three seeds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.command_line import note
from benchmarks.measurement import machine, save, versions
from benchmarks.worlds import (
    WORLDS,
    Split,
    checkpoint,
    count_questions,
    questions,
    write_questions,
)
from emo_prune.evaluation import evaluate
from emo_prune.exports import export
from emo_prune.selection import select

CALIBRATION = 40  # questions
SEEDS = (0, 1, 2)
NAMES = tuple(WORLDS)


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--emo", type=Path, default=checkpoint("emo"))
    parser.add_argument("--standard", type=Path, default=checkpoint("standard"))
    parser.add_argument("--keep", default="12.5%")
    parser.add_argument("--score", default="frequency")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    document: dict[str, Any] = {
        "schema": "emo-prune/benchmark-worlds/1",
        "keep": options.keep,
        "score": options.score,
        "calibration_questions": CALIBRATION,
        "models": {},
        "machine": machine(),
        "versions": versions(),
    }
    with tempfile.TemporaryDirectory() as folder:
        write_worlds(Path(folder))
        for name in ("emo", "standard"):
            work = Path(folder) / name
            found = measure(getattr(options, name), work, options)
            document["models"][name] = {"worlds": found, "mean": mean(found)}
            print(table(name, document["models"][name]))
    if options.output:
        save(document, options.output)


def write_worlds(folder: Path) -> None:
    """Write each world's questions, to choose experts by and to score."""
    for world in NAMES:
        splits: tuple[tuple[Split, int], ...] = (
            ("validation", CALIBRATION),
            ("test", count_questions(world, "test")),
        )
        for split, count in splits:
            asked = questions(world, split, count, seed=0)
            write_questions(folder / f"{world}-{split}.jsonl", asked)


def measure(
    model: Path, work: Path, options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Return accuracies in per cent, by world and by what was kept."""
    for world in NAMES:
        note(f"{work.name}: choosing for {world}")
        prune(model, work, world, options.score, options.keep, 0)
    for seed in SEEDS:
        prune(model, work, NAMES[0], "random", options.keep, seed)
    found: dict[str, dict[str, list[float]]] = {world: {} for world in NAMES}
    for world, kept, folder in pruned_models(model, work):
        scored = evaluate(
            folder,
            examples=work.parent / f"{world}-test.jsonl",
            dtype="float32",
            batch_size=64,
        )
        found[world].setdefault(kept, []).append(100 * scored.results.value)
    return {
        world: {kept: round(statistics.mean(all_), 2) for kept, all_ in cell.items()}
        for world, cell in found.items()
    }


def pruned_models(model: Path, work: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield a world, what was kept, and the checkpoint."""
    for world, other in zip(NAMES, (*NAMES[1:], NAMES[0]), strict=True):
        yield world, "full", model
        yield world, "subset", work / world
        yield world, "other", work / other
        for seed in SEEDS:
            yield world, "random", work / f"random-{seed}"


def prune(
    model: Path, work: Path, world: str, score: str, keep: str, seed: int
) -> None:
    """Choose experts on a world's validation questions, and export them."""
    selection = select(
        model=str(model),
        examples=work.parent / f"{world}-validation.jsonl",
        keep=keep,
        score=score,
        seed=seed,
        dtype="float32",
    )
    name = f"random-{seed}" if score == "random" else world
    export(selection, model=model, output=work / name)


def mean(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the mean over worlds."""
    kinds = next(iter(found.values()))
    return {
        kept: round(statistics.mean(cell[kept] for cell in found.values()), 2)
        for kept in kinds
    }


def table(name: str, facts: dict[str, Any]) -> str:
    """Return a model's rows as markdown."""
    kinds = tuple(facts["mean"])
    lines = [f"| {name} | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    for world, cell in {**facts["worlds"], "mean": facts["mean"]}.items():
        cells = (f"{cell[kept]:.1f}" for kept in kinds)
        lines.append(f"| {world} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
