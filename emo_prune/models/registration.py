"""Teach transformers' Auto classes our models, without importing transformers.

The configurations are registered when transformers' own table of configurations is
imported, the models when its table of models is, whichever side is imported first.
The model classes stay unimported until one is used: the table of models is often
imported halfway through the modules they are built from.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

import wrapt

_AUTO = "transformers.models.auto"
_CONFIGS = {
    "emo": "EmoConfig",
    "emoe": "EmoeConfig",
    "olmo2_noqknorm_prenorm": "Olmo2NoQKNormPrenormConfig",
}
_MODELS = {
    "emo": ("EmoModel", "EmoForCausalLM"),
    "emoe": ("EmoeModel", "EmoeForCausalLM"),
    "olmo2_noqknorm_prenorm": (
        "Olmo2NoQKNormPrenormModel",
        "Olmo2NoQKNormPrenormForCausalLM",
    ),
}


def register_with_transformers() -> None:
    """Make AutoConfig, AutoModel and AutoModelForCausalLM know our models."""
    wrapt.when_imported(f"{_AUTO}.configuration_auto")(_register_configs)
    wrapt.when_imported(f"{_AUTO}.modeling_auto")(_register_models)


def _register_configs(configuration_auto: ModuleType) -> None:
    for model_type, name in _CONFIGS.items():
        configuration_auto.AutoConfig.register(
            model_type, _config_class(name), exist_ok=True
        )


def _register_models(modeling_auto: ModuleType) -> None:
    for model_type, (base, causal) in _MODELS.items():
        config_class = _config_class(_CONFIGS[model_type])
        # Not through AutoModel.register, which looks into the class and so imports it.
        modeling_auto.MODEL_MAPPING.register(config_class, _lazy(base), exist_ok=True)
        modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING.register(
            config_class, _lazy(causal), exist_ok=True
        )
        # By these names pipelines and lm-eval tell what kind of model it is.
        modeling_auto.MODEL_MAPPING_NAMES[model_type] = base
        modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type] = causal


def _config_class(name: str) -> Any:
    return getattr(import_module("emo_prune.models"), name)


def _lazy(name: str) -> Any:
    return wrapt.lazy_import("emo_prune.models", name)
