"""Fine-tune a dense model and its EMoE variants alike, and see who learnt more.

    python benchmarks/emoe/finetune.py MODEL --work-dir WORK -o RESULTS.json

MODEL is a dense checkpoint of the llama family. Its last layers are trained on the
domain, ARC-Easy; scored are ARC-Easy's test questions and, outside the domain,
ARC-Challenge and OpenBookQA. Each run is kept in WORK, so that an interrupted
benchmark goes on.

Variants (arXiv 2310.10908, its ablations): `dense`; `emoe`, clustered experts, of which
the top k are used; `random-split`, experts of random neurons; `not-top-k`, clustered
experts, of which k others than the top k are used. A seed is that of the order of the
questions and of the carving. `untrained` is the dense model as it comes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from comparison import compared
from product import emo_prune
from tail import Fed, hidden_states, layers, loss
from torch import Tensor
from training_rows import training_rows
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    get_cosine_schedule_with_warmup,
)

from emo_prune.evaluation import Scorer
from emo_prune.files import versions, write_atomically
from emo_prune.models.carved_layer import EmoeGate
from emo_prune.tasks import TaskOptions, evaluation_set, parse_task

UNTRAINED, DENSE = "untrained", "dense"
VARIANTS = {
    DENSE: None,
    "emoe": "kmeans",
    "random-split": "random",
    "not-top-k": "kmeans",
}
AS_DENSE = ("emoe", "random-split")  # scored as dense models, too
SCORED = {"arc_easy": 600, "arc_challenge": 300, "openbookqa": 300}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all variants have in common; `first` is the lowest layer that is trained.

    limit: questions to train on; None is all. scored: questions of each task.
    """

    model: str
    first: int = 26
    carved: tuple[int, ...] = (26, 28)
    num_experts: int = 64
    top_k: int = 16
    epochs: int = 2
    rows: int = 16
    learning_rate: float = 1e-4
    warmup: float = 0.05
    limit: int | None = None
    scored: Mapping[str, int]


class NotTopK(EmoeGate):
    """A gate that picks at random among all experts but the top k."""

    generator: torch.Generator

    def pick(self, scores: Tensor) -> Tensor:
        """Return the ids [tokens, top_k], drawn anew at each call."""
        drawn = torch.rand(scores.shape, generator=self.generator)
        drawn.scatter_(-1, super().pick(scores), -1.0)
        ids: Tensor = drawn.topk(self.top_k, dim=-1).indices
        return ids

    @classmethod
    def instead_of(cls, gate: EmoeGate, seed: int) -> NotTopK:
        """Return such a gate for the layer of another."""
        made = cls(gate.config)
        made.generator = torch.Generator().manual_seed(seed)
        return made


def run(
    variant: str, seed: int, options: argparse.Namespace, settings: Settings
) -> dict[str, Any]:
    """Train one variant with one seed, and score it as trained and as a dense model."""
    torch.manual_seed(seed)
    model = load(variant, seed, options, settings)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    rows = training_rows(options.data_dir, tokenizer, settings.limit)
    fed = feed(rows, options, settings, model)
    began = time.perf_counter()
    losses = train(model, fed, seed, settings)
    seconds = time.perf_counter() - began
    note(f"{variant}, seed {seed}: trained in {seconds:.0f} s, losses {losses}")
    scores = score(model, tokenizer, options.data_dir, settings)
    found = {"variant": variant, "seed": seed, "losses": losses, "scores": scores}
    if variant in AS_DENSE:
        for gate in model.routers:
            gate.top_k = settings.num_experts  # all of them: the dense layer
        found["scores_as_dense"] = score(model, tokenizer, options.data_dir, settings)
    return found | {"train_seconds": round(seconds, 1)}


def untrained(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Score the dense model as it comes."""
    model = load(DENSE, 0, options, settings)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    scores = score(model, tokenizer, options.data_dir, settings)
    return {"variant": UNTRAINED, "seed": None, "scores": scores}


def load(
    variant: str, seed: int, options: argparse.Namespace, settings: Settings
) -> Any:
    """Return the model of a variant, carved if need be."""
    method = VARIANTS[variant]
    folder = options.model
    if method is not None:
        folder = options.work_dir / f"carved-{method}-{seed}"
        if not folder.exists():
            carve(options.model, folder, method, seed, settings)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if method is not None:
        # small experts: on a processor all of them at once are the fastest
        model.set_experts_implementation("eager")
    if variant == "not-top-k":
        for layer in settings.carved:
            block = model.base_model.layers[layer].mlp
            block.gate = NotTopK.instead_of(block.gate, seed)
    return model


def carve(
    model: Path, output: Path, method: str, seed: int, settings: Settings
) -> None:
    """Carve a dense checkpoint by the command that users run."""
    emo_prune(
        "carve", model, "-o", output, "--method", method, "--seed", seed,
        "--layers", ",".join(map(str, settings.carved)),
        "--num-experts", settings.num_experts, "--top-k", settings.top_k,
    )  # fmt: skip


def feed(
    rows: Sequence[Any], options: argparse.Namespace, settings: Settings, model: Any
) -> list[Fed]:
    """Return the training rows with what the frozen layers make of them, kept."""
    file = options.work_dir / "hidden.pt"
    if not file.exists():
        note(f"running {len(rows)} questions through the frozen layers")
        found = hidden_states(model, settings.first, rows)
        half = file.with_suffix(".partial")
        torch.save([(row.ids, row.hidden, row.start) for row in found], half)
        half.replace(file)
    return [Fed(*row) for row in torch.load(file)]


def train(
    model: Any, rows: Sequence[Fed], seed: int, settings: Settings
) -> list[float]:
    """Train the last layers and the norm; return the mean loss of each epoch."""
    decoder = model.base_model
    trained = [
        *decoder.layers[settings.first :].parameters(),
        *decoder.norm.parameters(),
    ]
    model.requires_grad_(False)
    for parameter in trained:
        parameter.requires_grad_(True)
    batches = -(-len(rows) // settings.rows)
    optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=0.0)
    steps = batches * settings.epochs
    schedule = get_cosine_schedule_with_warmup(
        optimizer, round(settings.warmup * steps), steps
    )
    order, losses = random.Random(seed), []
    model.train()
    with layers(decoder, slice(settings.first, None)):
        for _ in range(settings.epochs):
            shuffled = order.sample(rows, len(rows))
            total = 0.0
            for start in range(0, len(rows), settings.rows):
                found = loss(model, shuffled[start : start + settings.rows])
                torch.autograd.backward(found)
                torch.nn.utils.clip_grad_norm_(trained, 1.0)
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
                total += float(found.detach())
            losses.append(round(total / batches, 4))
    model.eval()
    return losses


def score(
    model: Any, tokenizer: Any, data_dir: Path, settings: Settings
) -> dict[str, list[int]]:
    """Return for each task which questions are answered right, by emo-prune's eval."""
    found = {}
    for name, limit in settings.scored.items():
        asked = TaskOptions(data_dir=data_dir, num_fewshot=0)
        questions = evaluation_set(parse_task(name), asked, limit)
        with Scorer(model, tokenizer) as scorer:
            (task,) = scorer.score(questions, name).tasks
        found[name] = [int(question.score) for question in task.questions]
    return found


def note(text: str) -> None:
    """Say what is going on."""
    print(text, file=sys.stderr, flush=True)


def kept(file: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what is in a file, after it was made if it is not there."""
    if not file.exists():
        write_atomically(file, json.dumps(make()))
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def runs_of(options: argparse.Namespace, settings: Settings) -> list[dict[str, Any]]:
    """Return all runs; those that are in the working folder are not run again.

    Raises:
        SystemExit: the folder holds runs with other settings.
    """
    work: Path = options.work_dir
    work.mkdir(parents=True, exist_ok=True)
    ours = json.loads(json.dumps(asdict(settings)))
    if kept(work / "settings.json", lambda: ours) != ours:
        raise SystemExit(f"{work} holds runs with other settings: take another folder")
    runs = [kept(work / f"{UNTRAINED}.json", lambda: untrained(options, settings))]
    for seed in options.seeds:
        for variant in dict.fromkeys((DENSE, *options.variants)):
            once = partial(run, variant, seed, options, settings)
            runs.append(kept(work / f"{variant}-{seed}.json", once))
    return runs


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line."""
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    made.add_argument("model", type=Path, help="a dense checkpoint")
    made.add_argument("--work-dir", type=Path, required=True)
    made.add_argument("-o", "--output", type=Path, required=True)
    made.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    made.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS),
        help="dense is always among them",
    )  # fmt: skip
    made.add_argument("--learning-rate", type=float, default=1e-4)
    made.add_argument("--limit", type=int, help="questions to train on")
    made.add_argument("--limit-scored", type=int, help="questions to score of a task")
    data = os.environ.get("EMO_PRUNE_DATA_DIR")
    made.add_argument("--data-dir", type=Path, default=data, required=data is None)
    return made.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is not there yet, and write the summary."""
    options = parsed(arguments)
    settings = Settings(
        model=options.model.name,
        learning_rate=options.learning_rate,
        limit=options.limit,
        scored={
            name: min(limit, options.limit_scored or limit)
            for name, limit in SCORED.items()
        },
    )
    document = {
        "schema": "emo-prune/benchmark-emoe-finetune/2",
        "settings": asdict(settings),
        **compared(runs_of(options, settings)),
        "versions": versions("emo-prune", "torch", "transformers", "lm-eval"),
    }
    write_atomically(options.output, json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
