"""A recipe as the arguments of transformers' Trainer."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from emo_prune.errors import BadRecipe, SettingsError
from emo_prune.models.transformers_private import checkpointing_argument
from emo_prune.pretraining.recipe import Recipe

TRACKERS = ("tensorboard", "wandb")


def training_arguments(
    recipe: Recipe,
    folder: Path,
    *,
    num_processes: int,
    use_cpu: bool,
    fsdp: bool,
    trackers: list[str] | None,
) -> TrainingArguments:
    """Return the arguments; `trackers` None takes those that are installed.

    Raises:
        BadRecipe: the batch cannot be divided among so many processes.
        SettingsError: `fsdp` is wanted where accelerate would quietly not shard.
    """
    on_gpu = torch.cuda.is_available() and not use_cpu
    if fsdp and (num_processes == 1 or not on_gpu):
        raise SettingsError(
            "there is nothing to shard the model over",
            where="--fsdp",
            got=f"{num_processes} processes, {torch.cuda.device_count()} GPUs here",
            expected="several processes, with a GPU each",
            hint="start it by torchrun on a machine with GPUs, or leave --fsdp out",
        )
    at_once = recipe.micro_batch_size * num_processes
    if recipe.batch_size % at_once:
        raise BadRecipe(
            "the batch cannot be divided among the processes",
            where="batch_size",
            got=recipe.batch_size,
            expected=f"a multiple of {at_once} "
            f"({num_processes} processes x micro_batch_size)",
            hint="change --set batch_size=SIZE or --set micro_batch_size=SIZE",
        )
    sharding: dict[str, Any] = {}
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
        gradient_accumulation_steps=recipe.batch_size // at_once,
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
        report_to=_trackers(trackers),
        ddp_find_unused_parameters=False,
        **sharding,
        **{
            checkpointing: recipe.gradient_checkpointing and not fsdp,
            f"{checkpointing}_kwargs": {"use_reentrant": False},
        },
    )


def _trackers(wanted: list[str] | None) -> list[str]:
    if wanted is None:
        return [name for name in TRACKERS if find_spec(name)]
    return [name for name in wanted if name != "none"]
