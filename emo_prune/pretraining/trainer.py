"""transformers' Trainer, with the losses, the schedule and the metrics of EMO.

The Trainer brings processes (DDP, FSDP2), mixed precision, clipping, checkpoints and
exact resuming, TensorBoard and wandb.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from emo_prune.errors import Diverged, Parameter, PretrainingError, SettingsError
from emo_prune.models.document_pool import PackedDocuments
from emo_prune.models.loading import failure_reason, load_model
from emo_prune.models.transformers_private import checkpointing_argument
from emo_prune.pretraining.balance import NAMES, Balance, routing_metrics
from emo_prune.pretraining.recipe import Recipe, lr_factor
from emo_prune.pretraining.run_folder import RunFolder
from emo_prune.pretraining.windows import Windows, collate
from emo_prune.progress import Advance, Progress

_METRICS = ("grad_norm", "learning_rate", "total_loss", "loss", *NAMES)


class PoolTrainer(Trainer):  # type: ignore[misc]
    """Trains a model on packed documents; of an EMO, the routers by documents.

    The loss is the cross-entropy of each next token in the window, in nats, and the
    auxiliary losses: of each MoE layer `load_balancing_coef` and `router_z_loss_coef`
    times its own, divided by the number of layers, and `head_z_loss_coef` times the
    mean squared logsumexp of the logits. Only the cross-entropy is called `loss` in the
    metrics.
    """

    lr_scheduler: torch.optim.lr_scheduler.LRScheduler | None

    def __init__(
        self,
        model: PreTrainedModel,
        recipe: Recipe,
        arguments: TrainingArguments,
        windows: Windows,
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
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, object]:
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
        return self.lr_scheduler

    def get_decay_parameter_names(self, model: torch.nn.Module) -> list[str]:
        """Return all parameters but the embedding, as the authors have it."""
        names = (name for name, _ in model.named_parameters())
        return [name for name in names if "embed_tokens" not in name]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the metrics since the last time, averaged over processes.

        Raises:
            Diverged: the loss is not finite any more, or its gradient.
        """
        if self._losses and "loss" in logs:
            logs["total_loss"] = logs.pop("loss")
            logs |= self._measured()
            self._refuse_nonsense(logs)
        super().log(logs, start_time)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: torch.nn.Module | None = None
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

    def _refuse_nonsense(self, logs: dict[str, float]) -> None:
        names = ("loss", *logs)  # a gradient that is not finite has spoilt the weights
        for name in names:
            if not math.isfinite(logs[name]):
                raise Diverged(
                    f"the {name.replace('_', ' ')} is not a number any more",
                    where=f"step {self.state.global_step:,}",
                    got=logs[name],
                    expected=f"a finite {name.replace('_', ' ')}",
                    hint=(
                        *("go on with ", Parameter("resume", True)),
                        " from the last checkpoint, or start anew with a lower ",
                        Parameter("settings", "learning_rate=RATE"),
                    ),
                )


class Notes(TrainerCallback):  # type: ignore[misc]
    """Tells how the training goes: its steps and losses, and lines of metrics."""

    def __init__(
        self, run: RunFolder, recipe: Recipe, progress: Progress, advance: Advance
    ) -> None:
        self._run = run
        self._tokens_per_step = recipe.tokens_per_step
        self._progress = progress
        self._advance = advance

    def on_train_begin(
        self, _args: object, state: TrainerState, *_: object, **__: object
    ) -> None:
        """Forget what a killed training wrote after its last checkpoint."""
        if state.is_world_process_zero:
            self._run.write_rows(metrics(state.log_history, self._tokens_per_step))

    def on_step_end(
        self, _args: object, state: TrainerState, control: TrainerControl, **_: object
    ) -> TrainerControl:
        """Ask for a line at the last step, whatever its number."""
        self._advance(self._tokens_per_step)
        if state.global_step == state.max_steps:
            control.should_log = True
        return control

    def on_log(
        self, _args: object, state: TrainerState, *_: object, **__: object
    ) -> None:
        """Write a line, and tell the loss."""
        for row in metrics(state.log_history[-1:], self._tokens_per_step):
            self._progress.say(
                f"step {row['step']:,} of {state.max_steps:,}: loss {row['loss']:.3f}"
            )
            if state.is_world_process_zero:
                self._run.add_row(row)


def metrics(
    history: Sequence[Mapping[str, float]], tokens_per_step: int
) -> list[dict[str, float]]:
    """Return the lines of metrics in the Trainer's history, which checkpoints hold."""
    return [
        {
            "step": row["step"],
            "tokens": row["step"] * tokens_per_step,
            # In an order of our own: that of a checkpoint is the alphabet's.
            **{name: row[name] for name in _METRICS if name in row},
        }
        for row in history
        if "grad_norm" in row  # else it is a summary
    ]


@contextlib.contextmanager
def named_failures(run: RunFolder, trainer: PoolTrainer) -> Iterator[None]:
    """Raise `PretrainingError` for what a training ends in where memory or disk end.

    Neither torch nor safetensors has errors of its own for that.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise PretrainingError(
            "the device has too little memory for a step",
            where=f"step {trainer.state.global_step + 1:,}",
            got=failure_reason(error),
            hint=(
                *("try ", Parameter("settings", "micro_batch_size=1"), " or "),
                Parameter("settings", "gradient_checkpointing=true"),
            ),
        ) from error
    except (OSError, RuntimeError, SafetensorError) as error:
        raise PretrainingError(
            "the training cannot go on",
            where=f"{run.path}, after step {trainer.state.global_step:,}",
            got=failure_reason(error),
            hint="check that there is memory, and room on the disk",
        ) from error


def training_arguments(
    recipe: Recipe,
    folder: Path,
    *,
    num_processes: int,
    use_cpu: bool,
    fsdp: bool,
    trackers: Sequence[str],
) -> TrainingArguments:
    """Return a recipe as the arguments of transformers' Trainer.

    Raises:
        SettingsError: `fsdp` is wanted where accelerate would quietly not shard.
    """
    on_gpu = torch.cuda.is_available() and not use_cpu
    if fsdp and not on_gpu:
        raise SettingsError(
            "there is no GPU to shard the model over",
            where=Parameter("fsdp", True),
            got=f"{torch.cuda.device_count()} GPUs here",
            expected="a GPU for each process",
            hint=("start it on a machine with GPUs, or leave out ", Parameter("fsdp")),
        )
    sharding: dict[str, object] = {}
    if fsdp:
        sharding = {
            "fsdp": True,
            "fsdp_config": {
                "version": 2,
                "activation_checkpointing": recipe.gradient_checkpointing,
            },
        }
    checkpointing = checkpointing_argument()
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=recipe.micro_batch_size,
        gradient_accumulation_steps=recipe.batch_size
        // (recipe.micro_batch_size * num_processes),
        max_steps=recipe.main_steps + recipe.anneal_steps,
        learning_rate=recipe.learning_rate,
        optim="adamw_torch_fused",
        weight_decay=recipe.weight_decay,
        adam_beta1=recipe.adam_beta1,
        adam_beta2=recipe.adam_beta2,
        max_grad_norm=recipe.max_grad_norm,
        bf16=recipe.precision == "bfloat16",
        dataloader_pin_memory=on_gpu,
        dataloader_num_workers=2 if on_gpu else 0,
        use_cpu=use_cpu,
        seed=recipe.seed,
        train_sampling_strategy="sequential",  # windows come in their final order
        remove_unused_columns=False,
        logging_steps=recipe.log_steps,
        logging_nan_inf_filter=False,
        save_steps=recipe.save_steps,
        save_total_limit=2,
        disable_tqdm=True,
        report_to=list(trackers),
        ddp_find_unused_parameters=False,
        **sharding,
        **{
            checkpointing: recipe.gradient_checkpointing and not fsdp,
            f"{checkpointing}_kwargs": {"use_reentrant": False},
        },
    )
