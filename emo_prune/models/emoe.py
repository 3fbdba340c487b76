"""EMoE: a dense decoder of transformers, some of whose FFNs are carved into experts.

The decoder is transformers' own, so masks, caches and positions are those of the dense
model; only its carved layers' `mlp` is another module. Names on disk are the dense
checkpoint's, and each expert has tensors of its own there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import MODEL_MAPPING, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import (
    MoeCausalLMOutputWithPast,
    MoeModelOutputWithPast,
)
from transformers.utils import can_return_tuple

from emo_prune.architectures.feed_forward import PLAIN
from emo_prune.models.carved_layer import (
    CarvedExperts,
    EmoeBlock,
    EmoeGate,
    OutputBias,
)
from emo_prune.models.emoe_config import EmoeConfig
from emo_prune.models.transformers_private import (
    ChoosesExpertsKernel,
    decoder_layers,
    forget_experts_kernel,
    fuse_experts,
    slice_logits_to_keep,
)

fuse_experts(
    EmoeConfig.model_type,
    {
        "gate_up_proj": ("gate_proj.weight", "up_proj.weight"),
        "gate_up_proj_bias": ("gate_proj.bias", "up_proj.bias"),
        "down_proj": ("down_proj.weight",),
        "c_fc": ("c_fc.weight",),
        "c_fc_bias": ("c_fc.bias",),
        "c_proj": ("c_proj.weight",),
        "neurons": ("neurons",),
    },
)


class EmoePreTrainedModel(ChoosesExpertsKernel, PreTrainedModel):  # type: ignore[misc]
    """The base of the two models below: a decoder under the name it has on disk."""

    config_class = EmoeConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True

    def __init__(self, config: EmoeConfig) -> None:
        dense = config.get_text_config()
        decoder_class = MODEL_MAPPING[type(dense)]
        # transformers asks for it at once, and GPT-2's attention has none
        self._supports_flex_attn = decoder_class._supports_flex_attn
        super().__init__(config)
        config.validate_carving()  # a field may have been set since it was made
        if dense.model_type in PLAIN:
            self.base_model_prefix = "transformer"
        # The kernel of the experts is handed down, but a dense decoder refuses any.
        forget_experts_kernel(dense)
        decoder = decoder_class(dense)
        for index in config.carved_layers or ():
            layer = decoder_layers(decoder)[index]
            layer.mlp = EmoeBlock(config, layer.mlp)
        self.add_module(self.base_model_prefix, decoder)

    @property
    def routers(self) -> list[EmoeGate]:
        """The gates of the carved layers, in order."""
        blocks = (layer.mlp for layer in decoder_layers(self.base_model))
        return [block.gate for block in blocks if isinstance(block, EmoeBlock)]

    def initialize_weights(self) -> None:
        """Fill what was not loaded. The decoder's own class knows no experts."""
        dense = self.config.get_text_config()
        for module in self.modules():
            if isinstance(module, CarvedExperts):
                module.init_weights(dense.initializer_range)
            elif isinstance(module, OutputBias):
                module.init_weights()
        super().initialize_weights()

    def get_input_embeddings(self) -> nn.Module:
        """Return the decoder's table of token embeddings."""
        embeddings: nn.Module = self.base_model.get_input_embeddings()
        return embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the decoder's table of token embeddings."""
        self.base_model.set_input_embeddings(value)

    def decode(
        self, output_router_logits: bool | None, **kwargs: Any
    ) -> MoeModelOutputWithPast:
        """Run the decoder; `kwargs` are those of its own forward pass."""
        if output_router_logits is None:
            output_router_logits = self.config.output_router_logits
        for flag in ("output_hidden_states", "output_attentions"):
            if getattr(self.config, flag):  # fields of every config: not the decoder's
                kwargs.setdefault(flag, True)
        with _recorded(self.routers if output_router_logits else []) as logits:
            outputs = dict(self.base_model(**kwargs))
        outputs.pop("cross_attentions", None)  # GPT-2 says that there are none
        return MoeModelOutputWithPast(**outputs, router_logits=tuple(logits) or None)


class EmoeModel(EmoePreTrainedModel):
    """The decoder, from token ids to hidden states."""

    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = ["lm_head.weight"]

    def __init__(self, config: EmoeConfig) -> None:
        super().__init__(config)
        self.post_init()

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self, input_ids: Tensor | None = None, **kwargs: Any
    ) -> MoeModelOutputWithPast:
        """Return hidden states [batch, tokens, hidden]; `kwargs` as the decoder's."""
        asked = kwargs.pop("output_router_logits", None)
        return self.decode(asked, input_ids=input_ids, **kwargs)


class EmoeForCausalLM(EmoePreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """The decoder with a language-model head."""

    def __init__(self, config: EmoeConfig) -> None:
        super().__init__(config)
        dense = config.get_text_config()
        self.lm_head = nn.Linear(dense.hidden_size, dense.vocab_size, bias=False)
        embeddings = "wte" if dense.model_type in PLAIN else "embed_tokens"
        self._tied_weights_keys = {
            "lm_head.weight": f"{self.base_model_prefix}.{embeddings}.weight"
        }
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

        `output_router_logits` (by default the configuration's) adds the gate's scores
        [batch * tokens, experts] of each carved layer. They carry no gradient.
        """
        decoded = self.decode(
            output_router_logits,
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        outputs = dict(decoded)
        hidden_states = outputs.pop("last_hidden_state")
        logits = self.lm_head(slice_logits_to_keep(hidden_states, logits_to_keep))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, logits.shape[-1], **kwargs)
        return MoeCausalLMOutputWithPast(loss=loss, logits=logits, **outputs)


@contextmanager
def _recorded(gates: list[EmoeGate]) -> Iterator[list[Tensor]]:
    """Collect the scores of some gates while the block runs."""
    found: list[Tensor] = []
    with ExitStack() as stack:
        for gate in gates:
            handle = gate.register_forward_hook(lambda _, __, out: found.append(out[0]))
            stack.callback(handle.remove)
        yield found
