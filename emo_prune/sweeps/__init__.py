"""`sweep`: tasks, budgets and scores on one model, in one run that can be stopped.

`Sweep` is what it writes, `sweep_tasks` says which tasks its options stand for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emo_prune.lazy import lazy_names
from emo_prune.sweeps.document import Cell, Row, Sweep, SweptTask, mean_cell

if TYPE_CHECKING:
    from emo_prune.sweeps.grid import sweep_tasks
    from emo_prune.sweeps.sweeping import sweep

__all__ = [
    "Cell",
    "Row",
    "Sweep",
    "SweptTask",
    "mean_cell",
    "sweep",
    "sweep_tasks",
]

_HOMES = {"sweep": "sweeping", "sweep_tasks": "grid"}

__getattr__ = lazy_names(__name__, _HOMES)
