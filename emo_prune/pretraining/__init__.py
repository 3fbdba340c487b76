"""Pretraining by the EMO recipe: document pools, global load balancing, annealing.

A `Recipe` says what to train, `pretrain` trains it. Text goes through `documents` ->
`tokenizer` -> `token_cache` -> `windows` to the `trainer`; the router itself is in
`emo_prune.models.document_pool`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emo_prune.lazy import lazy_names
from emo_prune.pretraining.document import PretrainRecord
from emo_prune.pretraining.recipe import (
    Recipe,
    Variant,
    for_variant,
    read_recipe,
    recipe_names,
)

if TYPE_CHECKING:
    from emo_prune.pretraining.training import Pretrained, pretrain

__all__ = [
    "PretrainRecord",
    "Pretrained",
    "Recipe",
    "Variant",
    "for_variant",
    "pretrain",
    "read_recipe",
    "recipe_names",
]

_HOMES = {"Pretrained": "training", "pretrain": "training"}

__getattr__ = lazy_names(__name__, _HOMES)
