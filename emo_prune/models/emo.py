"""EMO: a mixture of experts whose routed and shared experts do not compete.

In memory the experts of a layer are fused, as transformers' kernels want them;
on disk each has its own tensors, as in the released checkpoints. transformers
converts both ways.

`packed_documents=`, a `PackedDocuments`, makes the model route as in pretraining.
"""

from __future__ import annotations

import logging
from copy import copy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import GenerationMixin, initialization
from transformers.modeling_outputs import MoeCausalLMOutputWithPast
from transformers.models.flex_olmo.modeling_flex_olmo import (
    FlexOlmoExperts,
    FlexOlmoModel,
)
from transformers.models.llama.modeling_llama import LlamaMLP
from transformers.utils import can_return_tuple
from transformers.utils.output_capturing import OutputRecorder

from emo_prune.models.configs import EmoConfig, LayerExperts
from emo_prune.models.dense import (
    PrenormAttention,
    PrenormDecoderLayer,
    PrenormPreTrainedModel,
)
from emo_prune.models.document_pool import PackedDocuments
from emo_prune.models.routing import load_balancing_loss, route
from emo_prune.models.transformers_private import (
    ChoosesExpertsKernel,
    fuse_experts,
    slice_logits_to_keep,
)

logger = logging.getLogger(__name__)

fuse_experts(
    EmoConfig.model_type,
    {
        "gate_up_proj": ("gate_proj.weight", "up_proj.weight"),
        "down_proj": ("down_proj.weight",),
    },
)


class EmoTopKRouter(nn.Module):
    """Scores the experts for each token and picks `top_k` of them.

    All sizes are read from the attributes at each call, so a router can be pruned
    in place: keep some rows of `weight`, then set `num_experts` and, if need be,
    `top_k`, `num_shared_experts` and `always_active_experts`.
    """

    def __init__(self, config: EmoConfig, experts: LayerExperts) -> None:
        super().__init__()
        self.top_k: int = config.num_experts_per_tok
        self.num_experts = experts.num_experts
        self.num_shared_experts = experts.num_shared_experts
        self.always_active_experts = experts.always_active_experts
        self.norm_topk_prob: bool = config.norm_topk_prob
        self.hidden_dim: int = config.hidden_size
        self.weight = nn.Parameter(torch.empty(self.num_experts, self.hidden_dim))

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return raw logits [tokens, experts], weights and ids [tokens, top_k]."""
        logits = functional.linear(
            hidden_states.reshape(-1, self.hidden_dim), self.weight
        )
        weights, ids = route(
            logits,
            top_k=self.top_k,
            num_shared_experts=self.num_shared_experts,
            always_active_experts=self.always_active_experts,
            norm_topk_prob=self.norm_topk_prob,
        )
        return logits, weights.to(logits.dtype), ids


class EmoExperts(FlexOlmoExperts):  # type: ignore[misc]
    """The experts of one layer, shared ones last, in two fused tensors.

    `gate_up_proj` [experts, 2 * intermediate, hidden] and `down_proj`
    [experts, hidden, intermediate]; called as `(hidden, top_k_index, top_k_weights)`.
    """

    def __init__(self, config: EmoConfig, num_experts: int) -> None:
        super().__init__(_changed(config, num_experts=num_experts))
        self.config = config  # the model's own: it names the kernel to use


class EmoSparseMoeBlock(nn.Module):
    """A router and its experts."""

    def __init__(self, config: EmoConfig, experts: LayerExperts) -> None:
        super().__init__()
        self.gate = EmoTopKRouter(config, experts)
        self.experts = EmoExperts(config, experts.num_experts)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Mix each token's experts: [batch, tokens, hidden] to the same shape."""
        _, weights, indices = self.gate(hidden_states)
        return self.mix(hidden_states, indices, weights)

    def mix(self, hidden_states: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        """Send each token to experts of its own: the last two are [..., top_k]."""
        flat = hidden_states.reshape(-1, hidden_states.shape[-1])
        mixed: Tensor = self.experts(
            flat, indices.flatten(0, -2), weights.flatten(0, -2)
        )
        return mixed.reshape(hidden_states.shape)


class EmoDecoderLayer(PrenormDecoderLayer):
    """Pre-norm attention and experts, or a dense MLP where there are no experts."""

    def __init__(self, config: EmoConfig, layer_idx: int) -> None:
        experts = config.layer_experts(layer_idx)
        super().__init__(
            config,
            layer_idx,
            EmoSparseMoeBlock(config, experts)
            if experts.num_experts
            else _dense_mlp(config),
        )
        self.layer_idx = layer_idx

    def feed_forward(
        self,
        hidden_states: Tensor,
        packed_documents: PackedDocuments | None = None,
        **_: Any,
    ) -> Tensor:
        """Route as in inference, or as documents are routed in training."""
        block = self.mlp
        if packed_documents is None or not isinstance(block, EmoSparseMoeBlock):
            return super().feed_forward(hidden_states)
        routing = packed_documents.route(self.layer_idx, hidden_states, block.gate)
        weights = routing.weights.to(hidden_states.dtype)
        return block.mix(hidden_states, routing.indices, weights)


class EmoPreTrainedModel(ChoosesExpertsKernel, PrenormPreTrainedModel):
    """The base of the two models below."""

    config_class = EmoConfig
    _no_split_modules: ClassVar[list[str]] = ["EmoDecoderLayer"]
    _can_record_outputs: ClassVar[dict[str, Any]] = {
        "router_logits": OutputRecorder(EmoTopKRouter, index=0),
        "hidden_states": EmoDecoderLayer,
        "attentions": PrenormAttention,
    }

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, EmoExperts | EmoTopKRouter):
            for parameter in module.parameters(recurse=False):
                initialization.normal_(parameter, std=self.config.initializer_range)


class EmoModel(EmoPreTrainedModel):
    """The decoder, from token ids to hidden states, by FlexOlmo's forward pass."""

    def __init__(self, config: EmoConfig) -> None:
        super().__init__(config)
        self.add_decoder(config, EmoDecoderLayer)
        self.post_init()
        self._warn_of_several_shared_experts()

    forward = FlexOlmoModel.forward

    @property
    def routers(self) -> list[EmoTopKRouter]:
        """The routers of the MoE layers, in order."""
        blocks = (layer.mlp for layer in self.layers)
        return [block.gate for block in blocks if isinstance(block, EmoSparseMoeBlock)]

    def _warn_of_several_shared_experts(self) -> None:
        for router in self.routers:
            if router.num_shared_experts > 1 and not router.always_active_experts:
                logger.warning(
                    "This model has %d shared experts in a layer. The released "
                    "inference code, followed here, gives them weights that sum to "
                    "1; EMO training gave each of them weight 1. If the checkpoint "
                    "was trained that way, its logits here are not the trained ones.",
                    router.num_shared_experts,
                )
                return


class EmoForCausalLM(EmoPreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """The decoder with a language-model head."""

    _tied_weights_keys: ClassVar[dict[str, str]] = {
        "lm_head.weight": "model.embed_tokens.weight"
    }
    _tp_plan: ClassVar[dict[str, str]] = {"lm_head": "colwise_gather_output"}

    def __init__(self, config: EmoConfig) -> None:
        super().__init__(config)
        self.model = EmoModel(config)
        self.add_lm_head(config)
        self.post_init()

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_router_logits: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> MoeCausalLMOutputWithPast:
        """Return logits [batch, tokens, vocabulary] and, with `labels`, the loss.

        `output_router_logits` (by default the configuration's) adds the raw logits
        [batch * tokens, experts] of each MoE layer and the load-balancing loss,
        which is added to the loss `router_aux_loss_coef` times. `kwargs` are those of
        the decoder, and of the loss; the cache is among them.
        """
        if output_router_logits is None:
            output_router_logits = self.config.output_router_logits
        decoded = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            output_router_logits=output_router_logits,
            **kwargs,
        )
        outputs = dict(decoded)
        hidden_states = outputs.pop("last_hidden_state")
        logits = self.lm_head(slice_logits_to_keep(hidden_states, logits_to_keep))

        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, self.vocab_size, **kwargs)
        aux_loss = None
        if outputs.get("router_logits"):
            aux_loss = load_balancing_loss(
                outputs["router_logits"],
                self.model.routers,
                token_mask=_token_mask(hidden_states, attention_mask, labels),
                num_items_in_batch=kwargs.get("num_items_in_batch"),
            )
            if loss is not None:
                loss = loss + self.config.router_aux_loss_coef * aux_loss.to(
                    loss.device
                )
        return MoeCausalLMOutputWithPast(
            loss=loss, aux_loss=aux_loss, logits=logits, **outputs
        )


def _token_mask(
    hidden_states: Tensor, attention_mask: Any, labels: Tensor | None
) -> Tensor | None:
    """Return which of the batch * tokens count: not padding, and with a label."""
    mask = None
    if isinstance(attention_mask, Tensor) and attention_mask.ndim == 2:
        # with a cache the mask also covers earlier tokens
        mask = attention_mask[:, -hidden_states.shape[1] :].reshape(-1) != 0
    if labels is not None:
        labelled = labels.reshape(-1) != -100
        mask = labelled if mask is None else mask.to(labelled.device) & labelled
    return mask


def _dense_mlp(config: EmoConfig) -> LlamaMLP:
    return LlamaMLP(
        _changed(
            config,
            intermediate_size=config.dense_intermediate_size,
            mlp_bias=config.dense_mlp_bias,
        )
    )


def _changed(config: EmoConfig, **changes: Any) -> EmoConfig:
    """Copy a configuration with a few fields changed, for parts that read it whole."""
    changed = copy(config)
    for key, value in changes.items():
        setattr(changed, key, value)
    return changed
