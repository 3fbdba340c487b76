"""The configuration fields EMO and its dense sibling share.

Built on transformers' base class alone: this is imported while transformers' table
of configurations is, when the other models' configurations cannot be yet.
"""

# no `from __future__ import annotations`: `strict` checks no field whose type is text

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers.configuration_utils import PreTrainedConfig


@strict
class PrenormConfig(PreTrainedConfig):  # type: ignore[misc]
    """A Llama-shaped decoder: its sizes, its tokens and its rotary embedding.

    The rotary embedding may be given as in the released files (`rope_theta`,
    `rope_scaling`) or as transformers 5 has it (`rope_parameters`). It is written as
    in the released files, which the code they were released with can read as well.
    """

    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]
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
