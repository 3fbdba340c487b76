"""What EMO and its dense sibling share: OLMo-2's parts, pre-norm, no QK-norm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import PreTrainedModel
from transformers.models.olmo2.modeling_olmo2 import (
    Olmo2Attention,
    Olmo2RMSNorm,
    Olmo2RotaryEmbedding,
)


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
    _skip_keys_device_placement: ClassVar[list[str]] = ["past_key_values"]
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
