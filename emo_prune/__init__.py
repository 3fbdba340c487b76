"""Turn a large mixture-of-experts model into the small one that a task needs.

Importing the package teaches transformers' Auto classes the EMO model types; torch
and transformers themselves are imported only when something here needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from emo_prune.models.registration import register_with_transformers

if TYPE_CHECKING:
    from emo_prune.models import EmoConfig as EmoConfig
    from emo_prune.models import EmoForCausalLM as EmoForCausalLM

__version__ = "0.1.0"

_HOMES = {"EmoConfig": "models", "EmoForCausalLM": "models"}

register_with_transformers()


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted([*globals(), *_HOMES])
