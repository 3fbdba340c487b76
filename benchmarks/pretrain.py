"""Time training with document pools against the same training without.

    python benchmarks/pretrain.py -o benchmarks/results/pretrain.json

The recipe tiny-cpu on made-up text, variants in turns, each step timed: the real
trainer, from reading the window to the optimiser's step. In the same run, what one
would write from the paper's text: a Python loop over the documents of a batch, a pool
at a time. `--layers` changes the depth, `--repeat` the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import Tensor

from benchmarks.command_line import Document, Row, finish, note, parser, work_folder
from benchmarks.measurement import budget, machine, versions
from benchmarks.worlds import WORLDS, documents
from emo_prune import pretrain
from emo_prune.models import document_pool
from emo_prune.pretraining import Recipe, read_recipe
from emo_prune.progress import Advance, Silent

STEPS, NOT_COUNTED = 30, 5
AT_LEAST = 0.85  # of standard's tokens a second
WAYS = ("standard", "emo", "emo, a loop over documents")


class Stopwatch(Silent):
    """Notes when each optimiser step is done."""

    def __init__(self) -> None:
        self.times: list[float] = []

    @contextlib.contextmanager
    def track(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        """Give what notes the time."""
        del label, total
        if unit == "tokens":
            yield lambda _: self.times.append(time.perf_counter())
        else:
            yield lambda _: None

    def steps(self) -> list[float]:
        """Return the seconds of each step that counts."""
        gone = [b - a for a, b in zip(self.times, self.times[1:], strict=False)]
        return gone[NOT_COUNTED:]


def measure(options: argparse.Namespace) -> Document:
    """Return the document of one benchmark."""
    changes = {
        "tokens": str(STEPS * 16 * 256),
        "anneal_tokens": "0",
        "warmup_steps": "5",
        "num_hidden_layers": str(options.layers),
        "save_steps": str(10 * STEPS),
    }
    recipe = read_recipe("tiny-cpu", changes)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    before = machine()
    with work_folder(options) as folder:
        corpus = write_corpus(folder)
        for repeat in range(options.repeat):
            for way in WAYS if repeat % 2 == 0 else WAYS[::-1]:
                note(f"round {repeat + 1}: {way}")
                output = folder / f"{repeat}-{WAYS.index(way)}"
                seconds[way] += timed(way, changes, corpus, output)
    return describe(recipe, seconds, before)


def write_corpus(folder: Path) -> Path:
    """Write made-up documents of all worlds."""
    rows = [
        json.dumps({"text": text, "domain": world}) + "\n"
        for world in WORLDS
        for text in documents(world, 100, 0)
    ]
    file = folder / "corpus.jsonl"
    file.write_text("".join(rows), encoding="utf-8")
    return file


def timed(
    way: str, changes: Mapping[str, str], corpus: Path, output: Path
) -> list[float]:
    """Train a little; return the seconds of each step."""
    watch = Stopwatch()
    looped = mock.patch.object(document_pool, "document_pools", pools_by_loop)
    with looped if "loop" in way else contextlib.nullcontext():
        pretrain(
            corpus,
            settings=[f"{name}={value}" for name, value in changes.items()],
            variant="standard" if way == "standard" else "emo",
            output=output,
            token_cache=output.parent / "tokens",
            device="cpu",
            track="none",
            progress=watch,
        )
    return watch.steps()


@torch.no_grad()
def pools_by_loop(logits: Tensor, documents: Tensor, sizes: Tensor) -> Tensor:
    """Return the pools of `document_pools`, one document after the other."""
    flat, owners = logits.flatten(0, 1), documents.flatten()
    pools = torch.zeros(len(sizes), logits.shape[-1], dtype=torch.bool)
    for document in range(len(sizes)):
        mean = flat[owners == document].softmax(dim=-1).mean(dim=0)
        size = min(int(sizes[document]), len(mean))
        pools[document, mean.topk(size).indices] = True
    return pools


def describe(
    recipe: Recipe, seconds: dict[str, list[float]], before: Document
) -> Document:
    """Return what was measured."""
    medians = {way: statistics.median(times) for way, times in seconds.items()}
    found: Document = {
        way: {
            "tokens_per_s": round(recipe.tokens_per_step / medians[way]),
            "step_s": round(medians[way], 4),
            "steps": len(times),
        }
        for way, times in seconds.items()
    }
    ratio = medians["standard"] / medians["emo"]
    return {
        "schema": "emo-prune/benchmark-pretrain/1",
        "layers": recipe.num_hidden_layers,
        "num_experts": recipe.num_experts,
        "hidden_size": recipe.hidden_size,
        "tokens_per_step": recipe.tokens_per_step,
        "ways": found,
        "ratios": {
            "emo_to_standard_tokens_per_s": round(ratio, 4),
            "loop_to_standard_tokens_per_s": round(
                medians["standard"] / medians[WAYS[2]], 4
            ),
        },
        "budgets": {
            "seconds of emo in those of standard": budget(1 / ratio, 1 / AT_LEAST)
        },
        "machine": {**before, "load_average_after": machine()["load_average"]},
        "versions": versions(),
    }


def rows(document: Document) -> list[Row]:
    """Return the table."""
    found: list[Row] = [("", "tokens a second", "a step")]
    for way, facts in document["ways"].items():
        found.append((way, f"{facts['tokens_per_s']:,}", f"{facts['step_s']:.3f} s"))
    ratio = document["ratios"]["emo_to_standard_tokens_per_s"]
    found.append(("emo to standard", f"{ratio:.3f}", f"at least {AT_LEAST}"))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure, print."""
    made = parser(__doc__, repeat=4, layers=3)
    return finish(measure, rows, made.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
