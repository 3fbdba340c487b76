"""What is measured of one model: whole, cut for a domain, cut at random.

Losses are means over tokens of one domain, in nats; accuracies are shares of its
questions. Both are kept by domain, so that means and spreads can be taken later.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from corpus import DOMAINS
from losses import mean_loss
from questions import write_questions
from settings import Settings
from subsets import Selector, pruned, write_calibration
from windows import Windows, read_documents, read_windows

from emo_prune import evaluate
from emo_prune.models.loading import load_model, load_tokenizer
from emo_prune.selection import Selection

Cell = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One checkpoint, the text it is measured on, and a folder for files."""

    checkpoint: Path
    work: Path
    files: Path
    settings: Settings

    @cached_property
    def model(self) -> Any:
        """The model, whole."""
        return load_model(self.checkpoint, device="cpu", dtype="float32")

    @cached_property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        return load_tokenizer(self.checkpoint)

    @cached_property
    def text(self) -> Mapping[str, Windows]:
        """Windows of test documents, by domain."""
        plan = self.settings
        return read_windows(
            self.work,
            "test",
            self.tokenizer,
            documents=plan.documents,
            each=plan.windows_each,
        )

    @property
    def selector(self) -> Selector:
        """Chooses this checkpoint's experts."""
        plan = self.settings
        return Selector(
            checkpoint=self.checkpoint, score=plan.score, greedy=plan.greedy
        )

    @property
    def num_experts(self) -> int:
        """Experts of a layer; 0 of a dense model."""
        return int(getattr(self.model.config, "num_experts", 0))

    @property
    def top_k(self) -> int:
        """Experts that a token is sent to, shared ones included."""
        return int(getattr(self.model.config, "num_experts_per_tok", 0))

    @property
    def budgets(self) -> list[int]:
        """The numbers of experts to keep."""
        return self.settings.budgets(self.num_experts, self.top_k)

    def calibration(self, domain: str, count: int) -> Path:
        """Return a file of calibration documents, written when first asked for."""
        file = self.files / f"calibration-{domain}-{count}.jsonl"
        if not file.exists():
            texts = read_documents(self.work, "calibration", domain)[:count]
            write_calibration(file, texts, self.tokenizer)
        return file

    def questions(self, domain: str) -> Path:
        """Return a file of questions, written when first asked for."""
        file = self.files / f"questions-{domain}.jsonl"
        if not file.exists():
            texts = read_documents(self.work, "test", domain)
            count = self.settings.questions
            seed = DOMAINS.index(domain)
            write_questions(file, texts, self.tokenizer, count=count, seed=seed)
        return file

    def loss(self, model: Any, domain: str) -> float:
        """Return a model's loss on a domain."""
        return round(mean_loss(model, self.text[domain]), 6)

    def losses(self, model: Any) -> dict[str, float]:
        """Return a model's loss on every domain."""
        return {domain: self.loss(model, domain) for domain in DOMAINS}

    def cut(self, selection: Selection) -> Any:
        """Return the model cut to a selection."""
        return pruned(self.model, selection.kept, selection.top_k)

    def accuracy(self, folder: Path, domain: str) -> float:
        """Return a checkpoint's accuracy on a domain, as `eval` measures it."""
        scored = evaluate(
            folder, examples=self.questions(domain), device="cpu", batch_size=16
        )
        return round(scored.results.value, 6)


def measure_whole(bench: Bench) -> Cell:
    """Return the model's own loss and accuracy."""
    note("whole")
    return {
        "loss": bench.losses(bench.model),
        "accuracy": {d: bench.accuracy(bench.checkpoint, d) for d in DOMAINS},
    }


def measure_subsets(bench: Bench) -> list[Cell]:
    """Cut for each domain, by few and by many documents, and measure on that domain.

    Accuracy is measured of the subsets that many documents have chosen.
    """
    return [
        subset_cell(bench, keep, count)
        for count in bench.settings.calibration
        for keep in bench.budgets
    ]


def subset_cell(bench: Bench, keep: int, count: int) -> Cell:
    """Return the figures of one budget and number of documents."""
    note(f"{keep} experts by {count} documents")
    cell: Cell = {"keep": keep, "documents": count, "kept": {}, "loss": {}}
    for domain in DOMAINS:
        selection = bench.selector.choose(bench.calibration(domain, count), keep)
        cell["kept"][domain] = [list(layer.kept) for layer in selection.layers]
        cell["loss"][domain] = bench.loss(bench.cut(selection), domain)
        if count == bench.settings.many:
            accuracies = cell.setdefault("accuracy", {})
            accuracies[domain] = exported_accuracy(bench, selection, [domain])[domain]
    return cell


def exported_accuracy(
    bench: Bench, selection: Selection, domains: Sequence[str]
) -> dict[str, float]:
    """Export a selection and score the export."""
    output = bench.files / "exports" / selection.sha256.replace(":", "-")
    if not output.exists():
        bench.selector.export(selection, output)
    return {domain: bench.accuracy(output, domain) for domain in domains}


def measure_random(bench: Bench) -> list[Cell]:
    """Draw subsets and measure each on every domain.

    The documents say nothing here, so one subset serves all domains. Accuracy is
    measured of the first draw.
    """
    cells = []
    examples = bench.calibration(DOMAINS[0], bench.settings.calibration[0])
    for keep in bench.budgets:
        for seed in bench.settings.seeds:
            note(f"{keep} experts at random, seed {seed}")
            selection = bench.selector.draw(examples, keep, seed)
            cell: Cell = {"keep": keep, "seed": seed}
            cell["loss"] = bench.losses(bench.cut(selection))
            if seed == bench.settings.seeds[0]:
                cell["accuracy"] = exported_accuracy(bench, selection, DOMAINS)
            cells.append(cell)
    return cells


def measure_matrix(bench: Bench) -> Cell:
    """Measure every domain's subset on every domain's text.

    `loss[A][B]` is the loss on B of the subset that many documents of A have chosen.
    """
    keep = bench.settings.matrix_budget(bench.num_experts)
    loss = {}
    for domain in DOMAINS:
        note(f"{keep} experts for {domain}, on every domain")
        examples = bench.calibration(domain, bench.settings.many)
        loss[domain] = bench.losses(bench.cut(bench.selector.choose(examples, keep)))
    return {"keep": keep, "documents": bench.settings.many, "loss": loss}


def check_export(bench: Bench) -> Cell:
    """Compare the loss of a model cut in memory with that of a real export."""
    keep, domain = bench.settings.matrix_budget(bench.num_experts), DOMAINS[0]
    examples = bench.calibration(domain, bench.settings.many)
    selection = bench.selector.choose(examples, keep)
    output = bench.files / "checked"
    bench.selector.export(selection, output)
    exported = load_model(output, device="cpu", dtype="float32")
    losses = [
        mean_loss(model, bench.text[domain])
        for model in (bench.cut(selection), exported)
    ]
    return {
        "keep": keep,
        "domain": domain,
        "loss_in_memory": losses[0],
        "loss_of_export": losses[1],
        "difference": losses[1] - losses[0],
    }


def note(text: str) -> None:
    """Say what is going on, away from the results."""
    print(text, file=sys.stderr, flush=True)
