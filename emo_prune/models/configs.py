"""The configurations of EMO and of its dense sibling, with the keys of the releases."""

# no `from __future__ import annotations`: `strict` checks no field whose type is text

from dataclasses import dataclass
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from emo_prune.errors import BadConfig


@strict
class PrenormConfig(PreTrainedConfig):  # type: ignore[misc]
    """A Llama-shaped decoder: its sizes, its tokens and its rotary embedding.

    The rotary embedding may be given as in the released files (`rope_theta`,
    `rope_scaling`) or as transformers 5 has it (`rope_parameters`). It is written as
    in the released files, which the code they were released with can read as well.
    """

    # the cache, as transformers called it before 5.24 and since
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values", "cache"]
    attention_tp_plan: ClassVar[dict[str, str]] = {
        "layers.*.self_attn.q_proj": "colwise",
        "layers.*.self_attn.k_proj": "colwise",
        "layers.*.self_attn.v_proj": "colwise",
        "layers.*.self_attn.o_proj": "rowwise",
    }
    mlp_tp_plan: ClassVar[dict[str, str]] = {
        "layers.*.mlp.gate_proj": "colwise",
        "layers.*.mlp.up_proj": "colwise",
        "layers.*.mlp.down_proj": "rowwise",
    }

    vocab_size: int = 100352
    hidden_size: int = 2048
    intermediate_size: int = 8192
    num_hidden_layers: int = 16
    num_attention_heads: int = 16
    num_key_value_heads: int | None = None
    hidden_act: str = "silu"
    max_position_embeddings: int = 4096
    initializer_range: float = 0.02
    rms_norm_eps: float = 1e-6
    use_cache: bool = True
    pad_token_id: int | None = 100277
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = 100257
    tie_word_embeddings: bool = False
    rope_parameters: dict[str, Any] | None = None
    attention_bias: bool = False
    attention_dropout: float | int = 0.0

    def __post_init__(self, **kwargs: Any) -> None:
        """Fill in what may be left out."""
        if self.num_key_value_heads is None:
            self.num_key_value_heads = self.num_attention_heads
        super().__post_init__(**kwargs)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields with the rotary keys of the released files."""
        output: dict[str, Any] = super().to_dict()
        rope = output.pop("rope_parameters", None)
        if rope:
            output["rope_theta"] = rope.pop("rope_theta")
            scaled = rope.get("rope_type", "default") != "default"
            output["rope_scaling"] = rope if scaled else None
        return output


@strict
class Olmo2NoQKNormPrenormConfig(PrenormConfig):
    """The shared fields; defaults that could be left out of a file are OLMo-2's."""

    model_type = "olmo2_noqknorm_prenorm"
    default_theta = 10000.0
    base_model_tp_plan: ClassVar[dict[str, str]] = (
        PrenormConfig.attention_tp_plan | PrenormConfig.mlp_tp_plan
    )

    rms_norm_eps: float = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerExperts:
    """The experts of one layer; a layer with none is a dense MLP."""

    num_experts: int
    num_shared_experts: int
    always_active_experts: tuple[int, ...]

    @property
    def num_fixed(self) -> int:
        """How many of a token's experts are the same for every token."""
        return len(self.always_active_experts) or self.num_shared_experts


@strict
class EmoConfig(PrenormConfig):
    """The shared fields, and the experts; default sizes are the released 1B-14B ones.

    `num_experts` counts the shared experts, which are the last
    `num_shared_experts` ones, and `num_experts_per_tok` counts them too.
    `always_active_experts` are ids that every token uses; in a layer that has
    them the shared experts are not set apart. The `*_per_layer` lists have one
    entry per layer and replace the single value; a layer with 0 experts is a
    dense MLP `dense_intermediate_size` wide, with biases if `dense_mlp_bias`.

    Raises `BadConfig` where the fields contradict each other.
    """

    model_type = "emo"
    attribute_map: ClassVar[dict[str, str]] = {"num_local_experts": "num_experts"}
    default_theta = 500000.0
    base_model_tp_plan: ClassVar[dict[str, str]] = (
        PrenormConfig.attention_tp_plan
        | PrenormConfig.mlp_tp_plan
        | {
            "layers.*.mlp.experts.gate_up_proj": "packed_colwise",
            "layers.*.mlp.experts.down_proj": "rowwise",
            "layers.*.mlp.experts": "moe_tp_experts",
        }
    )

    intermediate_size: int = 1024
    num_experts_per_tok: int = 8
    num_experts: int = 128
    num_shared_experts: int = 0
    norm_topk_prob: bool = False
    output_router_logits: bool = False
    router_aux_loss_coef: float = 0.01
    num_experts_per_layer: list[int] | None = None
    num_shared_experts_per_layer: list[int] | None = None
    always_active_experts: list[int] | None = None
    always_active_experts_per_layer: list[list[int] | None] | None = None
    dense_intermediate_size: int | None = None
    dense_mlp_bias: bool = False

    def layer_experts(self, layer: int) -> LayerExperts:
        """Return how many experts a layer has, and which of them never compete."""
        per_layer = self.num_experts_per_layer
        num_experts = self.num_experts if per_layer is None else per_layer[layer]
        shared = self.num_shared_experts_per_layer
        active = self.always_active_experts_per_layer
        return LayerExperts(
            num_experts=num_experts,
            num_shared_experts=min(self.num_shared_experts, num_experts)
            if shared is None
            else shared[layer],
            always_active_experts=tuple(
                (self.always_active_experts if active is None else active[layer]) or ()
            ),
        )

    def validate_experts(self) -> None:
        """Refuse expert counts that no router could serve (run by `@strict`)."""
        for key in (
            "num_experts_per_layer",
            "num_shared_experts_per_layer",
            "always_active_experts_per_layer",
        ):
            values = getattr(self, key)
            if values is not None and len(values) != self.num_hidden_layers:
                raise bad_key(key, len(values), f"{self.num_hidden_layers} entries")
        for layer in range(self.num_hidden_layers):
            self._validate_layer(layer, self.layer_experts(layer))

    def _validate_layer(self, layer: int, experts: LayerExperts) -> None:
        where = f"layer {layer}"
        if experts.num_experts == 0:
            if self.dense_intermediate_size is None:
                raise bad_key(f"dense_intermediate_size, {where}", None, "a width")
            return
        active = experts.always_active_experts
        if len(set(active)) < len(active) or not all(
            0 <= expert < experts.num_experts for expert in active
        ):
            raise bad_key(
                f"always_active_experts, {where}",
                list(active),
                f"distinct ids below {experts.num_experts}",
            )
        if not experts.num_fixed <= self.num_experts_per_tok <= experts.num_experts:
            raise bad_key(
                f"num_experts_per_tok, {where}",
                self.num_experts_per_tok,
                f"{experts.num_fixed} (never routed) to {experts.num_experts} (all)",
            )
        if self.norm_topk_prob and experts.num_fixed:
            raise bad_key(
                f"norm_topk_prob, {where}",
                True,
                "false, since some experts are shared or always active",
            )


def bad_key(key: str, got: object, expected: str) -> BadConfig:
    """Return the error for a field of a configuration that contradicts the others."""
    return BadConfig(
        "the configuration contradicts itself",
        where=key,
        got=got,
        expected=expected,
        hint="correct config.json, or download it again",
    )
