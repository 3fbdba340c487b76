"""The learning rate from step to step."""

from __future__ import annotations

import math

from emo_prune.pretraining.recipe import Recipe


def lr_factor(step: int, recipe: Recipe) -> float:
    """Return the learning rate of a step, counted from 0, as a share of the peak.

    It rises linearly over the warm-up, falls as half a cosine to `final_lr_fraction`,
    and from there, over the annealing, linearly to 0.
    """
    main, floor = recipe.main_steps, recipe.final_lr_fraction
    if step < min(recipe.warmup_steps, main):
        return (step + 1) / (recipe.warmup_steps + 1)
    if step < main:
        progress = (step - recipe.warmup_steps) / (main - recipe.warmup_steps)
        return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2
    return floor * max(0.0, 1 - (step - main) / max(1, recipe.anneal_steps))
