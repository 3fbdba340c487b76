"""EMO's dense sibling, the model `olmo2_noqknorm_prenorm` of the releases.

It is made of OLMo-2's parts, pre-norm and without QK-norm; EMO is made of the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.models.olmo2.modeling_olmo2 import (
    Olmo2Attention,
    Olmo2ForCausalLM,
    Olmo2MLP,
    Olmo2Model,
    Olmo2RMSNorm,
    Olmo2RotaryEmbedding,
)

from emo_prune.models.configs import Olmo2NoQKNormPrenormConfig


class PrenormAttention(Olmo2Attention):  # type: ignore[misc]
    """OLMo-2's attention without norms on queries and keys."""

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.q_norm = nn.Identity()
        self.k_norm = nn.Identity()


class PrenormDecoderLayer(GradientCheckpointingLayer):  # type: ignore[misc]
    """Attention, then `mlp`, each behind its norm and beside a residual."""

    def __init__(self, config: Any, layer_idx: int, mlp: nn.Module) -> None:
        super().__init__()
        self.self_attn = PrenormAttention(config, layer_idx)
        self.mlp = mlp
        self.pre_attention_layernorm = Olmo2RMSNorm(
            config.hidden_size, eps=config.rms_norm_eps
        )
        self.pre_feedforward_layernorm = Olmo2RMSNorm(
            config.hidden_size, eps=config.rms_norm_eps
        )

    def forward(self, hidden_states: Tensor, **kwargs: Any) -> Tensor:
        """Return [batch, tokens, hidden]; `kwargs` are those of the attention."""
        attended, _ = self.self_attn(
            hidden_states=self.pre_attention_layernorm(hidden_states), **kwargs
        )
        hidden_states = hidden_states + attended
        return hidden_states + self.feed_forward(
            self.pre_feedforward_layernorm(hidden_states), **kwargs
        )

    def feed_forward(self, hidden_states: Tensor, **_: Any) -> Tensor:
        """Transform each token; `_` is what the layer was called with."""
        transformed: Tensor = self.mlp(hidden_states)
        return transformed


class PrenormPreTrainedModel(PreTrainedModel):  # type: ignore[misc]
    """What transformers may do with these models."""

    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    # the cache, as transformers called it before 5.24 and since
    _skip_keys_device_placement: ClassVar[list[str]] = ["past_key_values", "cache"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True

    def add_decoder(
        self, config: Any, layer_type: Callable[[Any, int], nn.Module]
    ) -> None:
        """Add the parts the forward passes of OLMo-2 and FlexOlmo expect to find."""
        self.padding_idx = config.pad_token_id
        self.vocab_size = config.vocab_size
        self.embed_tokens = nn.Embedding(
            config.vocab_size, config.hidden_size, self.padding_idx
        )
        self.layers = nn.ModuleList(
            layer_type(config, layer) for layer in range(config.num_hidden_layers)
        )
        self.norm = Olmo2RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = Olmo2RotaryEmbedding(config=config)
        self.gradient_checkpointing = False

    def add_lm_head(self, config: Any) -> None:
        """Add the head that turns hidden states into logits over the vocabulary."""
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)


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
