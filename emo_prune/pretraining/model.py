"""The model of a recipe: made or loaded to be trained, and published when it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from emo_prune.errors import BadRecipe, Command, Parameter
from emo_prune.exports import (
    PRETRAINED,
    PartialFolder,
    named_errors,
    partial_of,
    publish,
    resolved,
)
from emo_prune.files import file_mode
from emo_prune.models import (
    EmoConfig,
    EmoForCausalLM,
    Olmo2NoQKNormPrenormConfig,
    Olmo2NoQKNormPrenormForCausalLM,
)
from emo_prune.models.loading import load_model
from emo_prune.places import RECORD
from emo_prune.pretraining.document import PretrainRecord
from emo_prune.pretraining.recipe import Recipe, Variant

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_SIZES = (
    "hidden_size",
    "num_hidden_layers",
    "intermediate_size",
    "num_experts",
    "num_shared_experts",
    "num_experts_per_tok",
    "vocab_size",
)


def model_to_train(
    recipe: Recipe,
    variant: Variant,
    tokenizer: PreTrainedTokenizerBase,
    start: Path | None,
) -> PreTrainedModel:
    """Return the variant's model, float32; `start` is a checkpoint to go on from.

    Raises:
        BadRecipe: there cannot be such a model, or `start` is another one.
        CheckpointError: `start` cannot be loaded.
    """
    try:
        if start is None:
            model = build_model(recipe, variant, tokenizer)
        else:
            model = continued_model(start, recipe)
        if variant != "dense":
            model.set_experts_implementation(recipe.experts_implementation)
    except (RuntimeError, MemoryError, ValueError) as error:  # torch has no own kind
        raise BadRecipe(
            "there cannot be a model of these sizes and settings here",
            where=variant,
            got=str(error).strip().partition("\n")[0] or type(error).__name__,
            hint="take a recipe with smaller sizes",
        ) from None
    return model


def build_model(
    recipe: Recipe, variant: Variant, tokenizer: PreTrainedTokenizerBase
) -> PreTrainedModel:
    """Make the variant's model, float32, its weights drawn with the recipe's seed.

    `dense` has one MLP as wide as the experts a token uses.
    """
    shared = {
        "vocab_size": recipe.vocab_size,
        "hidden_size": recipe.hidden_size,
        "num_hidden_layers": recipe.num_hidden_layers,
        "num_attention_heads": recipe.num_attention_heads,
        "max_position_embeddings": recipe.sequence_length,
        "initializer_range": recipe.initializer_range,
        "rope_theta": recipe.rope_theta,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        if variant == "dense":
            width = recipe.intermediate_size * recipe.num_experts_per_tok
            return Olmo2NoQKNormPrenormForCausalLM(
                Olmo2NoQKNormPrenormConfig(
                    intermediate_size=width, rms_norm_eps=1e-6, **shared
                )
            )
        return EmoForCausalLM(
            EmoConfig(
                intermediate_size=recipe.intermediate_size,
                num_experts=recipe.num_experts,
                num_shared_experts=recipe.num_shared_experts,
                num_experts_per_tok=recipe.num_experts_per_tok,
                **shared,
            )
        )


def continued_model(folder: Path, recipe: Recipe) -> PreTrainedModel:
    """Load a standard MoE, or an EMO, to train it further with pools.

    Raises:
        BadRecipe: it is of another kind, or of other sizes than the recipe's.
        CheckpointError: it cannot be loaded.
    """
    model: PreTrainedModel = load_model(folder, device="cpu", dtype="float32")
    config = model.config
    if config.model_type != "emo":
        raise BadRecipe(
            "only a model of the EMO architecture can be annealed with pools",
            where=folder,
            got=config.model_type,
            expected="emo, with or without pools in its training",
            hint=(
                *("give one that ", Command("pretrain", {"variant": "standard"})),
                " has made",
            ),
        )
    for key in _SIZES:
        if getattr(config, key) != getattr(recipe, key):
            raise BadRecipe(
                "the checkpoint has other sizes than the recipe",
                where=f"{folder}, {key}",
                got=getattr(config, key),
                expected=getattr(recipe, key),
                hint=(
                    "take the recipe it was trained with, or ",
                    Parameter("settings", f"{key}=VALUE"),
                ),
            )
    return model


def publish_model(
    model: PreTrainedModel,
    state: Mapping[str, torch.Tensor],
    tokenizer: PreTrainedTokenizerBase,
    record: PretrainRecord,
    output: Path,
    *,
    dtype: torch.dtype,
    force: bool,
) -> None:
    """Write checkpoint, tokenizer and record, so that all appear together or not.

    Weights are stored as `dtype`; `force` replaces an earlier output.

    Raises:
        OutputExists: something is there that may not be replaced.
        NotEnoughDisk, ExportError: it cannot be written.
    """
    state = {name: tensor.to(dtype) for name, tensor in state.items()}
    num_bytes = sum(tensor.numel() * tensor.itemsize for tensor in state.values())
    output = resolved(output)  # a link to another disk: beside its target
    partial = PartialFolder(partial_of(output))
    with named_errors(output, num_bytes, "the training's own folder is whole"):
        output.parent.mkdir(parents=True, exist_ok=True)
        partial.make(force=True)
        try:
            model.config.dtype = dtype
            model.save_pretrained(partial.path, state_dict=state)
            tokenizer.save_pretrained(partial.path)
            record.save(partial.path / RECORD)
            for file in partial.path.iterdir():  # safetensors' own are for us alone
                file.chmod(file_mode())
            publish(partial.path, output, force=force, kind=PRETRAINED)
            partial.release()
        finally:
            partial.discard()
