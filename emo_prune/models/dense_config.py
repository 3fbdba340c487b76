"""The configuration of EMO's dense sibling: OLMo-2, pre-norm, without QK-norm."""

# no `from __future__ import annotations`: `strict` checks no field whose type is text

from typing import ClassVar

from huggingface_hub.dataclasses import strict

from emo_prune.models.prenorm_config import PrenormConfig


@strict
class Olmo2NoQKNormPrenormConfig(PrenormConfig):
    """The shared fields; defaults that could be left out of a file are OLMo-2's."""

    model_type = "olmo2_noqknorm_prenorm"
    default_theta = 10000.0
    base_model_tp_plan: ClassVar[dict[str, str]] = (
        PrenormConfig.attention_tp_plan | PrenormConfig.mlp_tp_plan
    )

    rms_norm_eps: float = 1e-5
