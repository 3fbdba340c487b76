"""Pretraining by the EMO recipe: document pools, global load balancing, annealing.

A `Recipe` says what to train; `pretrain.pretrain` trains it. Text goes
through `documents` -> `tokenizer` -> `token_cache` -> `windows` to the `trainer`; the
router itself is in `emo_prune.models.document_pool`.
"""

from emo_prune.pretraining.recipe import (
    VARIANTS,
    Recipe,
    Variant,
    for_variant,
    read_recipe,
    recipe_names,
)

__all__ = [
    "VARIANTS",
    "Recipe",
    "Variant",
    "for_variant",
    "read_recipe",
    "recipe_names",
]
