"""The torch models the ecosystem lacks: EMO and its dense sibling.

Nothing here imports torch or transformers until one of the names is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emo_prune.models.dense import (
        Olmo2NoQKNormPrenormForCausalLM as Olmo2NoQKNormPrenormForCausalLM,
    )
    from emo_prune.models.dense import (
        Olmo2NoQKNormPrenormModel as Olmo2NoQKNormPrenormModel,
    )
    from emo_prune.models.dense_config import (
        Olmo2NoQKNormPrenormConfig as Olmo2NoQKNormPrenormConfig,
    )
    from emo_prune.models.emo import EmoForCausalLM as EmoForCausalLM
    from emo_prune.models.emo import EmoModel as EmoModel
    from emo_prune.models.emo_config import EmoConfig as EmoConfig

_HOMES = {
    "EmoConfig": "emo_config",
    "EmoForCausalLM": "emo",
    "EmoModel": "emo",
    "Olmo2NoQKNormPrenormConfig": "dense_config",
    "Olmo2NoQKNormPrenormForCausalLM": "dense",
    "Olmo2NoQKNormPrenormModel": "dense",
}


def __getattr__(name: str) -> object:
    """Import a public class when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public classes, imported or not."""
    return sorted(_HOMES)
