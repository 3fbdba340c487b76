"""A dense checkpoint carved into experts (EMoE, arXiv 2310.10908), and back.

`describe_dense` finds the feed-forward layers of a checkpoint, `plan_carving` says what
will be written, and `carve` groups each layer's neurons into experts of one size and
writes them, one layer in memory at a time. No weight is changed, none is added, and no
byte of a tensor is ever rounded. No torch.
"""

from emo_prune.carving.carve import carve
from emo_prune.carving.clustering import METHODS, Method
from emo_prune.carving.dense import DenseModel, describe_dense
from emo_prune.carving.plan import CarvePlan, plan_carving
from emo_prune.carving.record import CARVING, CarvedLayer, CarvingRecord
from emo_prune.carving.settings import CarveSettings, GateSource

__all__ = [
    "CARVING",
    "METHODS",
    "CarvePlan",
    "CarveSettings",
    "CarvedLayer",
    "CarvingRecord",
    "DenseModel",
    "GateSource",
    "Method",
    "carve",
    "describe_dense",
    "plan_carving",
]
