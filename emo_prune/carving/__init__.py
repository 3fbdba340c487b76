"""A dense checkpoint carved into experts (EMoE, arXiv 2310.10908), and back.

`carve` finds the feed-forward layers (`dense`), says what will be written (`plan`),
groups each layer's neurons into experts of one size (`clustering`) and writes them, one
layer in memory at a time. `restore` finds the pieces and joins them (`pieces`). No
weight is changed, none is added, and no byte of a tensor is ever rounded. No torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emo_prune.carving.document import CarvedLayer, CarvingRecord, Measured, Restored
from emo_prune.lazy import lazy_names

if TYPE_CHECKING:
    from emo_prune.carving.cutting import carve
    from emo_prune.carving.restoring import restore

__all__ = [
    "CarvedLayer",
    "CarvingRecord",
    "Measured",
    "Restored",
    "carve",
    "restore",
]

_HOMES = {"carve": "cutting", "restore": "restoring"}

__getattr__ = lazy_names(__name__, _HOMES)
