"""The layouts of MoE checkpoints: which tensors are experts, which are router rows.

`describe` turns an open checkpoint into an `MoEModel`: every tensor has exactly one
role, and config and tensors have been checked against each other. `prune_config` edits
a config key by key; `fingerprint` identifies a checkpoint by its contents. No torch.
"""

from emo_prune.architectures.feed_forward import Carving
from emo_prune.architectures.fingerprint import dense_fingerprint, fingerprint
from emo_prune.architectures.inspection import (
    Inspection,
    Size,
    bytes_keeping,
    inspect,
    inspect_model,
)
from emo_prune.architectures.layout import describe
from emo_prune.architectures.model import Limits, MoELayer, MoEModel
from emo_prune.architectures.subset import prune_config
from emo_prune.architectures.table import ARCHITECTURES, Architecture, architecture_of

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Carving",
    "Inspection",
    "Limits",
    "MoELayer",
    "MoEModel",
    "Size",
    "architecture_of",
    "bytes_keeping",
    "dense_fingerprint",
    "describe",
    "fingerprint",
    "inspect",
    "inspect_model",
    "prune_config",
]
