"""The model of a recipe, with fresh weights or those of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from emo_prune.errors import BadRecipe
from emo_prune.models import (
    EmoConfig,
    EmoForCausalLM,
    Olmo2NoQKNormPrenormConfig,
    Olmo2NoQKNormPrenormForCausalLM,
)
from emo_prune.models.loading import load_model
from emo_prune.pretraining.recipe import Recipe, Variant


def build_model(recipe: Recipe, variant: Variant, tokenizer: Any) -> Any:
    """Make the variant's model, float32, its weights drawn with the recipe's seed.

    `dense` has one MLP as wide as the experts a token uses.
    """
    shared: dict[str, Any] = {
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
            return Olmo2NoQKNormPrenormForCausalLM(
                Olmo2NoQKNormPrenormConfig(
                    intermediate_size=recipe.intermediate_size
                    * recipe.num_experts_per_tok,
                    rms_norm_eps=1e-6,
                    **shared,
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


def continued_model(folder: Path, recipe: Recipe) -> Any:
    """Load a standard MoE, or an EMO, to train it further with pools.

    Raises:
        BadRecipe: it is of another kind, or of other sizes than the recipe's.
        CheckpointError: it cannot be loaded.
    """
    model = load_model(folder, device="cpu", dtype="float32")
    config = model.config
    if config.model_type != "emo":
        raise BadRecipe(
            "only a model of the EMO architecture can be annealed with pools",
            where=folder,
            got=config.model_type,
            expected="emo, with or without pools in its training",
            hint="give one that emo-prune pretrain --variant standard has made",
        )
    for key in (
        "hidden_size",
        "num_hidden_layers",
        "intermediate_size",
        "num_experts",
        "num_shared_experts",
        "num_experts_per_tok",
        "vocab_size",
    ):
        if getattr(config, key) != getattr(recipe, key):
            raise BadRecipe(
                "the checkpoint has other sizes than the recipe",
                where=f"{folder}, {key}",
                got=getattr(config, key),
                expected=getattr(recipe, key),
                hint=f"take the recipe it was trained with, or --set {key}=VALUE",
            )
    return model
