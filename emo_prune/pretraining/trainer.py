"""transformers' Trainer, with the losses, the schedule and the metrics of EMO.

The Trainer brings processes (DDP, FSDP2), mixed precision, clipping, checkpoints and
exact resuming, TensorBoard and wandb.
"""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from emo_prune.errors import Diverged
from emo_prune.models.document_pool import PackedDocuments
from emo_prune.models.loading import load_model
from emo_prune.pretraining.balance import Balance
from emo_prune.pretraining.recipe import Recipe
from emo_prune.pretraining.routing_metrics import NAMES, routing_metrics
from emo_prune.pretraining.schedule import lr_factor
from emo_prune.pretraining.windows import Windows, collate


class PoolTrainer(Trainer):  # type: ignore[misc]
    """Trains a model on packed documents; of an EMO, the routers by documents.

    The loss is the cross-entropy of each next token in the window, in nats, and the
    auxiliary losses: of each MoE layer `load_balancing_coef` and `router_z_loss_coef`
    times its own, divided by the number of layers, and `head_z_loss_coef` times the
    mean squared logsumexp of the logits. Only the cross-entropy is called `loss` in the
    metrics.
    """

    lr_scheduler: Any

    def __init__(
        self, model: Any, recipe: Recipe, arguments: TrainingArguments, windows: Windows
    ) -> None:
        self._recipe = recipe
        self._balance = Balance(recipe.balance)
        self._micro_batch = 0
        self._losses: list[Tensor] = []
        self._routing: Tensor | None = None
        self._routes = model.config.model_type == "emo"
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=windows,
            data_collator=partial(
                collate,
                document_masking=recipe.document_masking,
                max_repeats=recipe.max_repeats,
            ),
        )
        self.model_accepts_loss_kwargs = False  # the loss is a mean, to be averaged
        self.remove_callback(PrinterCallback)  # it prints to stdout

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the loss of a micro-batch from `collate`, a float32 scalar."""
        del num_items_in_batch
        self._begin_micro_batch()
        packed = PackedDocuments(
            inputs["documents"], inputs.get("pool_sizes"), reduce=self._balance
        )
        outputs = model(
            input_ids=inputs["input_ids"],
            position_ids=inputs["position_ids"],
            use_cache=False,
            **({"packed_documents": packed} if self._routes else {}),
        )
        logits = outputs.logits[:, :-1].flatten(0, 1).float()
        labels = inputs["labels"][:, 1:].flatten()
        counted = labels != -100
        num_counted = counted.sum().clamp(min=1)  # all windows may be without labels
        cross_entropy = (
            functional.cross_entropy(logits, labels, reduction="sum") / num_counted
        )
        z_loss = (logits.logsumexp(dim=-1).square() * counted).sum() / num_counted
        loss = cross_entropy + self._recipe.head_z_loss_coef * z_loss
        loss = loss + self._auxiliary(packed)
        self._note(cross_entropy, packed)
        return (loss, outputs) if return_outputs else loss

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """Warm up, follow the cosine, anneal: the recipe's own steps."""
        del num_training_steps
        if self.lr_scheduler is None:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer, partial(lr_factor, recipe=self._recipe)
            )
            self._created_lr_scheduler = True
        scheduler: torch.optim.lr_scheduler.LRScheduler = self.lr_scheduler
        return scheduler

    def get_decay_parameter_names(self, model: Any) -> list[str]:
        """Return all parameters but the embedding, as the authors have it."""
        names = (name for name, _ in model.named_parameters())
        return [name for name in names if "embed_tokens" not in name]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the metrics since the last time, averaged over processes.

        Raises:
            Diverged: the loss is not finite any more.
        """
        if self._losses and "loss" in logs:
            logs["total_loss"] = logs.pop("loss")
            logs |= self._measured()
            if not math.isfinite(logs["loss"]):
                raise Diverged(
                    "the loss is not a number any more",
                    where=f"step {self.state.global_step:,}",
                    got=logs["loss"],
                    expected="a finite loss",
                    hint="go on with --resume from the last checkpoint, or start anew "
                    "with a lower --set learning_rate=RATE",
                )
        super().log(logs, start_time)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: Any = None
    ) -> None:
        """Load by the names on disk: the Trainer's own way leaves fused experts out.

        It loads a state dict as it stands, so experts that have a tensor each on disk
        are not found, and stay as they were drawn. FSDP keeps a file of its own.
        """
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        saved = load_model(Path(resume_from_checkpoint), device="cpu", dtype="float32")
        (self.model if model is None else model).load_state_dict(saved.state_dict())

    def _begin_micro_batch(self) -> None:
        if self.current_gradient_accumulation_steps == self._micro_batch:
            self._micro_batch = 0
        self._balance.begin(self._micro_batch)
        self._micro_batch += 1

    def _auxiliary(self, packed: PackedDocuments) -> Tensor | float:
        routings = packed.routings.values()
        if not routings:
            return 0.0
        layers = self._recipe.num_hidden_layers
        balance = torch.stack([layer.load_balancing_loss for layer in routings]).sum()
        z_loss = torch.stack([layer.z_loss for layer in routings]).sum()
        weighed = self._recipe.load_balancing_coef * balance
        return (weighed + self._recipe.router_z_loss_coef * z_loss) / layers

    def _note(self, cross_entropy: Tensor, packed: PackedDocuments) -> None:
        """Note a micro-batch's loss, and of the last before each log its routing."""
        self._losses.append(cross_entropy.detach().float())
        step = self.state.global_step + 1
        logs_next = step % self._recipe.log_steps == 0 or step == self.state.max_steps
        if packed.routings and logs_next:
            self._routing = routing_metrics(packed.routings.values(), packed.documents)

    def _measured(self) -> dict[str, float]:
        values = torch.stack(self._losses).mean()[None]
        names: tuple[str, ...] = ("loss",)
        if self._routing is not None:
            values, names = torch.cat([values, self._routing]), (*names, *NAMES)
        self._losses, self._routing = [], None
        means = self.accelerator.reduce(values, reduction="mean").tolist()
        return dict(zip(names, means, strict=True))


class MetricsFile(TrainerCallback):  # type: ignore[misc]
    """Writes each line of metrics to a file of JSON lines.

    A training that goes on forgets the lines after the checkpoint it goes on from.
    """

    def __init__(self, path: Path, tokens_per_step: int) -> None:
        self._path = path
        self._tokens_per_step = tokens_per_step

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Drop what a killed training wrote after its last checkpoint."""
        if not state.is_world_process_zero or not self._path.exists():
            return
        rows = self._path.read_text("utf-8").splitlines(keepends=True)
        kept = [row for row in rows if _step(row) <= state.global_step]
        self._path.write_text("".join(kept), "utf-8")

    def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Ask for a line at the last step, whatever its number."""
        if state.global_step == state.max_steps:
            control.should_log = True
        return control

    def on_log(
        self,
        _args: Any,
        state: Any,
        _control: Any,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Write a line."""
        if not state.is_world_process_zero or logs is None or "grad_norm" not in logs:
            return
        row = {
            "step": state.global_step,
            "tokens": state.global_step * self._tokens_per_step,
            **{key: value for key, value in logs.items() if key != "epoch"},
        }
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _step(row: str) -> int:
    """Return a line's step; of a line that was cut short, one that is never kept."""
    try:
        return int(json.loads(row)["step"])
    except (ValueError, KeyError):
        return 2**62
