"""The small models that were pretrained on the worlds' documents."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Literal


def checkpoint(variant: Literal["emo", "standard"]) -> Path:
    """Return the folder of a model: EMO, or the same without pools in its training.

    64 experts in each of 3 layers, top-4, bfloat16; the folder's emo_prune.json says
    how it was trained. EMO's comes with the package, for `quickstart`.
    """
    if variant == "standard":
        return Path(__file__).parent / "checkpoints" / variant
    return Path(str(resources.files("emo_prune.quickstart") / "data" / "worlds-emo"))
