"""EMO's dense sibling, the model `olmo2_noqknorm_prenorm` of the releases."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers.generation import GenerationMixin
from transformers.models.olmo2.modeling_olmo2 import (
    Olmo2ForCausalLM,
    Olmo2MLP,
    Olmo2Model,
)

from emo_prune.models.dense_config import Olmo2NoQKNormPrenormConfig
from emo_prune.models.prenorm import (
    PrenormAttention,
    PrenormDecoderLayer,
    PrenormPreTrainedModel,
)


class Olmo2NoQKNormPrenormDecoderLayer(PrenormDecoderLayer):
    """Pre-norm attention and MLP."""

    def __init__(self, config: Olmo2NoQKNormPrenormConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx, Olmo2MLP(config))


class Olmo2NoQKNormPrenormPreTrainedModel(PrenormPreTrainedModel):
    """The base of the two models below."""

    config_class = Olmo2NoQKNormPrenormConfig
    _no_split_modules: ClassVar[list[str]] = ["Olmo2NoQKNormPrenormDecoderLayer"]
    _can_record_outputs: ClassVar[dict[str, Any]] = {
        "hidden_states": Olmo2NoQKNormPrenormDecoderLayer,
        "attentions": PrenormAttention,
    }


class Olmo2NoQKNormPrenormModel(Olmo2NoQKNormPrenormPreTrainedModel):
    """The decoder, from token ids to hidden states, by OLMo-2's forward pass."""

    def __init__(self, config: Olmo2NoQKNormPrenormConfig) -> None:
        super().__init__(config)
        self.add_decoder(config, Olmo2NoQKNormPrenormDecoderLayer)
        self.post_init()

    forward = Olmo2Model.forward


class Olmo2NoQKNormPrenormForCausalLM(
    Olmo2NoQKNormPrenormPreTrainedModel,
    GenerationMixin,  # type: ignore[misc]
):
    """The decoder with a language-model head."""

    _tied_weights_keys: ClassVar[dict[str, str]] = {
        "lm_head.weight": "model.embed_tokens.weight"
    }
    _tp_plan: ClassVar[dict[str, str]] = {"lm_head": "colwise_gather_output"}

    def __init__(self, config: Olmo2NoQKNormPrenormConfig) -> None:
        super().__init__(config)
        self.model = Olmo2NoQKNormPrenormModel(config)
        self.add_lm_head(config)
        self.post_init()

    forward = Olmo2ForCausalLM.forward
