"""A dense checkpoint carved into experts (EMoE, arXiv 2310.10908), and back.

`describe_dense` finds the feed-forward layers of a checkpoint, `plan_carving` says what
will be written, and `carve` groups each layer's neurons into experts of one size and
writes them, one layer in memory at a time. `describe_carved`, `plan_restoring` and
`restore_dense` put the dense checkpoint together again. No weight is changed, none is
added, and no byte of a tensor is ever rounded. No torch.
"""

from emo_prune.carving.carve import carve
from emo_prune.carving.carved import CarvedModel, describe_carved
from emo_prune.carving.clustering import METHODS, Method
from emo_prune.carving.dense import DenseModel, describe_dense
from emo_prune.carving.plan import CarvePlan, plan_carving
from emo_prune.carving.record import CARVING, CarvedLayer, CarvingRecord
from emo_prune.carving.restore import RestorePlan, plan_restoring, restore_dense
from emo_prune.carving.settings import CarveSettings, GateSource

__all__ = [
    "CARVING",
    "METHODS",
    "CarvePlan",
    "CarveSettings",
    "CarvedLayer",
    "CarvedModel",
    "CarvingRecord",
    "DenseModel",
    "GateSource",
    "Method",
    "RestorePlan",
    "carve",
    "describe_carved",
    "describe_dense",
    "plan_carving",
    "plan_restoring",
    "restore_dense",
]
