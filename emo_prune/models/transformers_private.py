"""What is private in transformers, or differs between its versions: touched here alone.

Tested with the lowest version that pyproject.toml allows and with the newest there is,
by `.ci/compatibility`. Nothing is imported until it is used, so that models can be
registered without transformers. Not here: what a subclass of `PreTrainedModel` says of
itself (`_supports_sdpa`, `_tied_weights_keys`, ...), which is how models are written.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def enter_config(configuration_auto: ModuleType, model_type: str, config: str) -> None:
    """Let AutoConfig find a configuration by its name in `emo_prune.models`.

    transformers looks for the classes of a model type in a module that it names so.
    """
    configuration_auto.CONFIG_MAPPING_NAMES[model_type] = config
    sys.modules[f"transformers.models.{model_type}"] = sys.modules["emo_prune.models"]


def enter_model(
    modeling_auto: ModuleType, table: str, model_type: str, config: str, model: str
) -> None:
    """Let the Auto class of a table find a model by its name in `emo_prune.models`.

    Pipelines and lm-eval tell by the names what kind of model it is.
    """
    getattr(modeling_auto, f"{table}_NAMES")[model_type] = model
    getattr(modeling_auto, table)._reverse_config_mapping[config] = model_type


def fuse_experts(model_type: str, fused: Mapping[str, tuple[str, ...]]) -> None:
    """Say how the experts' tensors on disk become those in memory, and back.

    Args:
        model_type: of the models it holds for, also outside of transformers.
        fused: the name of a tensor of all experts, and those of the tensors that each
            has on disk; several are concatenated along dimension 1. All are below
            `mlp.experts`.
    """
    from transformers.conversion_mapping import register_checkpoint_conversion_mapping
    from transformers.core_model_loading import (
        Concatenate,
        MergeModulelist,
        WeightConverter,
    )

    converters = [
        WeightConverter(
            source_patterns=[f"mlp.experts.*.{part}" for part in parts],
            target_patterns=f"mlp.experts.{target}",
            operations=[
                MergeModulelist(dim=0),
                *([Concatenate(dim=1)] if len(parts) > 1 else []),
            ],
        )
        for target, parts in fused.items()
    ]
    register_checkpoint_conversion_mapping(model_type, converters, overwrite=True)


def tensor_loader(
    model: Any, device: torch.device
) -> Callable[[Mapping[str, Tensor]], list[str]]:
    """Return what fills a model's parameters from tensors named as in its checkpoint.

    transformers renames, fuses and casts them as when it loads a whole model. What
    does not fit is returned, in words.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import convert_and_load_state_dict_in_model
    from transformers.modeling_utils import LoadStateDictConfig

    settings = LoadStateDictConfig(
        device_map={"": device},
        dtype=model.dtype,
        dtype_plan=model._get_dtype_plan(model.dtype),
        weight_mapping=get_model_conversion_mapping(model),
    )

    def load(tensors: Mapping[str, Tensor]) -> list[str]:
        info, _ = convert_and_load_state_dict_in_model(model, dict(tensors), settings)
        return [*map(str, info.mismatched_keys), *map(str, info.conversion_errors)]

    return load


def decoder_layers(decoder: Any) -> nn.ModuleList:
    """Return a decoder's layers, in order: `layers`, or GPT-2's `h`."""
    layers: nn.ModuleList = decoder.layers if hasattr(decoder, "layers") else decoder.h
    return layers


class ChoosesExpertsKernel:
    """A model whose experts run by the kernel of `experts_implementation`.

    transformers would look for its own decorator in the text of the model's file.
    """

    @classmethod
    def _can_set_experts_implementation(cls) -> bool:
        return True


class RunByKernels:
    """What kernels ask of an experts' module, besides its weights."""

    is_concatenated = True
    has_post_expert_norm = False
    _is_expert_parallel = False


def forget_experts_kernel(config: Any) -> None:
    """Take back the choice of a kernel, which a dense model refuses."""
    config._experts_implementation = None


def experts_kernel(
    config: Any, eager: Callable[..., Tensor], *, can_be_grouped: bool
) -> Callable[..., Tensor]:
    """Return the kernel that a model's config names, `eager` for "eager".

    `eager` also stands in for "grouped_mm" where that does not serve. A kernel is
    called with the experts' module, hidden states, ids and weights.
    """
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    wanted = config._experts_implementation
    if wanted == "grouped_mm" and not can_be_grouped:
        return eager
    kernel: Callable[..., Tensor]
    kernel = ALL_EXPERTS_FUNCTIONS.get_interface(wanted, eager)
    return kernel


def slice_logits_to_keep(hidden: Tensor, logits_to_keep: int | Tensor) -> Tensor:
    """Return the hidden states [batch, tokens, hidden] whose logits are asked for.

    An int means so many at the end, 0 all; a tensor positions, of all examples or, if
    it has two dimensions, of each; or a mask of bool. As transformers does; 5.20 has no
    function for it.
    """
    import torch

    if isinstance(logits_to_keep, int):
        return hidden[:, slice(-logits_to_keep, None)]
    if logits_to_keep.ndim < 2:
        return hidden[:, logits_to_keep]
    if logits_to_keep.dtype == torch.bool:
        return hidden[logits_to_keep]
    return torch.take_along_dim(hidden, logits_to_keep[..., None], dim=1)


def attention_of(config: Any) -> str:
    """Return the attention a model was loaded with: "eager", "sdpa", ..."""
    return str(config._attn_implementation)


def keeps_every_token(config: Any) -> bool:
    """Tell whether each layer's cache keeps the keys and values of all tokens."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    layers = DynamicCache(config=config).layers
    return all(type(layer) is DynamicLayer for layer in layers)


def checkpointing_argument() -> str:
    """Return what recomputing activations is called: "gradient_..." before 5.23."""
    from transformers import PreTrainedModel

    renamed = hasattr(PreTrainedModel, "activation_checkpointing_enable")
    return "activation_checkpointing" if renamed else "gradient_checkpointing"


def cache_argument() -> str:
    """Return what models call their cache: "past_key_values" before 5.24."""
    from transformers.modeling_outputs import BaseModelOutputWithPast

    known = BaseModelOutputWithPast.__dataclass_fields__
    return "cache" if "cache" in known else "past_key_values"
