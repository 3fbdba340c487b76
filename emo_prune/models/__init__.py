"""The torch models the ecosystem lacks: EMO, its dense sibling, EMoE.

Nothing here imports torch or transformers until one of the names is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emo_prune.lazy import lazy_names

if TYPE_CHECKING:
    from emo_prune.models.configs import EmoConfig as EmoConfig
    from emo_prune.models.configs import (
        Olmo2NoQKNormPrenormConfig as Olmo2NoQKNormPrenormConfig,
    )
    from emo_prune.models.dense import (
        Olmo2NoQKNormPrenormForCausalLM as Olmo2NoQKNormPrenormForCausalLM,
    )
    from emo_prune.models.dense import (
        Olmo2NoQKNormPrenormModel as Olmo2NoQKNormPrenormModel,
    )
    from emo_prune.models.emo import EmoForCausalLM as EmoForCausalLM
    from emo_prune.models.emo import EmoModel as EmoModel
    from emo_prune.models.emoe import EmoeForCausalLM as EmoeForCausalLM
    from emo_prune.models.emoe import EmoeModel as EmoeModel
    from emo_prune.models.emoe_config import EmoeConfig as EmoeConfig

_HOMES = {
    "EmoConfig": "configs",
    "EmoForCausalLM": "emo",
    "EmoModel": "emo",
    "EmoeConfig": "emoe_config",
    "EmoeForCausalLM": "emoe",
    "EmoeModel": "emoe",
    "Olmo2NoQKNormPrenormConfig": "configs",
    "Olmo2NoQKNormPrenormForCausalLM": "dense",
    "Olmo2NoQKNormPrenormModel": "dense",
}


__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    """List the public classes, imported or not."""
    return sorted(_HOMES)
