"""Register our models as soon as transformers is imported, and not before.

Commands that handle bytes never import transformers; they should not wait for what
registration needs either.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


def announce_models() -> None:
    """Register now if transformers is there already, else when it is imported."""
    if "transformers" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _TransformersIsComing())


class _TransformersIsComing:
    """An import hook that finds nothing: it only hears that transformers is wanted."""

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Register at the first import of transformers, then step aside."""
        del path, target
        if name == "transformers":
            sys.meta_path.remove(self)
            _register()
        return None


def _register() -> None:
    from emo_prune.models.registration import register_with_transformers

    register_with_transformers()
