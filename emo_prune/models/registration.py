"""Teach transformers' Auto classes our models, without importing transformers or them.

The Auto classes find a model's classes by tables of names. Ours are entered when such a
table is imported, or at once if it is there already; the classes themselves stay
unimported until one is asked for. Commands that handle bytes import neither.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import NamedTuple

from emo_prune.models.transformers_private import enter_config, enter_model


class _Classes(NamedTuple):
    """Names in `emo_prune.models`."""

    config: str
    base: str
    causal: str


_CLASSES = {
    "emo": _Classes("EmoConfig", "EmoModel", "EmoForCausalLM"),
    "emoe": _Classes("EmoeConfig", "EmoeModel", "EmoeForCausalLM"),
    "olmo2_noqknorm_prenorm": _Classes(
        "Olmo2NoQKNormPrenormConfig",
        "Olmo2NoQKNormPrenormModel",
        "Olmo2NoQKNormPrenormForCausalLM",
    ),
}


def register_models() -> None:
    """Make AutoConfig, AutoModel and AutoModelForCausalLM know our models."""
    for name, enter in _TABLES.items():
        if name in sys.modules:
            enter(sys.modules[name])
    sys.meta_path.insert(0, _TableFinder())


class _TableFinder:
    """Finds transformers' tables where they are, to be filled once they are loaded."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return the module's own spec, with a loader that enters our models."""
        if fullname not in _TABLES:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _TableLoader(fullname, spec.origin)
        return spec


class _TableLoader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        _TABLES[module.__name__](module)


def _enter_configs(configuration_auto: ModuleType) -> None:
    for model_type, names in _CLASSES.items():
        enter_config(configuration_auto, model_type, names.config)


def _enter_models(modeling_auto: ModuleType) -> None:
    for model_type, (config, base, causal) in _CLASSES.items():
        enter_model(modeling_auto, "MODEL_MAPPING", model_type, config, base)
        enter_model(
            modeling_auto, "MODEL_FOR_CAUSAL_LM_MAPPING", model_type, config, causal
        )


_TABLES: dict[str, Callable[[ModuleType], None]] = {
    "transformers.models.auto.configuration_auto": _enter_configs,
    "transformers.models.auto.modeling_auto": _enter_models,
}
