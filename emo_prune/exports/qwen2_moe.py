"""An EMO checkpoint with one shared expert, written as a native Qwen2-MoE one.

The two compute the same. EMO's shared expert has a softmax of its own over a single
logit, that is weight 1; Qwen2-MoE weights its shared expert by sigmoid(gate . x). A
gate of zeros gives 0.5, and a down projection doubled makes up for it: doubling moves
the exponent alone, so it is exact in every binary floating-point format. The routed
experts' softmax, top-(k-1) and lack of renormalisation are Qwen2-MoE's own.
Source: `transformers/models/qwen2_moe/modeling_qwen2_moe.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from emo_prune.architectures import MoELayer, MoEModel
from emo_prune.architectures.subset import computed, rows, whole
from emo_prune.checkpoint import ByteSource, OutputTensor, Tensor
from emo_prune.errors import NotExact

_LAYER_NAMES = {
    "pre_attention_layernorm.weight": "input_layernorm.weight",
    "pre_feedforward_layernorm.weight": "post_attention_layernorm.weight",
    **{
        name: name
        for name in (
            *(f"self_attn.{p}_proj.weight" for p in "qkvo"),
            *(f"mlp.{p}_proj.weight" for p in ("gate", "up", "down")),
        )
    },
}
# Keys whose defaults differ between the two, or that neither can do without.
_REQUIRED = ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads",
             "num_key_value_heads", "max_position_embeddings", "rms_norm_eps",
             "hidden_act", "tie_word_embeddings")  # fmt: skip
_MODEL_NAMES = ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")
_LAYER = re.compile(r"^(model\.layers\.\d+\.)(.+)$")


def qwen2_moe_name(name: str) -> str | None:
    """Return what a tensor outside the experts is called there; None if nowhere."""
    if name in _MODEL_NAMES:
        return name
    found = _LAYER.match(name)
    if found is None or found[2] not in _LAYER_NAMES:
        return None
    return found[1] + _LAYER_NAMES[found[2]]


def refuse_inexact(
    model: MoEModel, kept: Mapping[int, Sequence[int]], top_k: int
) -> None:
    """Raise `NotExact`, naming the reason, where the two would not compute the same."""
    config = model.config
    model_type = model.architecture.model_type
    problems = {
        f"model type {model_type}": not model.architecture.shared_last,
        "not exactly one shared expert in each layer": any(
            len(layer.shared) != 1 for layer in model.layers
        ),
        "always-active experts": any(layer.always_active for layer in model.layers),
        "norm_topk_prob": bool(config.get("norm_topk_prob")),
        "attention_bias": bool(config.get("attention_bias")),
        "layers with different numbers of experts": len(
            {len(ids) for ids in kept.values()}
        )
        > 1,
        "quantised weights": config.get("quantization_config") is not None,
        "no routed expert in the top-k": top_k < 2,
        "a config without rope_theta": "rope_theta" not in config
        and not config.get("rope_parameters"),
        **{f"a config without {key}": config.get(key) is None for key in _REQUIRED},
    }
    unknown = [t.name for t in model.other if qwen2_moe_name(t.name) is None]
    if unknown:
        problems[f"tensors such as {unknown[0]}"] = True
    found = [problem for problem, present in problems.items() if present]
    if found:
        raise NotExact(
            "this model cannot be written as qwen2_moe exactly",
            where=model.checkpoint.name,
            got=", ".join(found),
            expected="an EMO model with one shared expert",
            hint="leave out --as: the export then keeps the layout of the source",
        )


def qwen2_moe_tensors(
    model: MoEModel, kept: Mapping[int, Sequence[int]]
) -> list[OutputTensor]:
    """Return the output's tensors under Qwen2-MoE's names."""
    outputs = [whole(t, qwen2_moe_name(t.name)) for t in model.other]
    for layer in model.layers:
        outputs += _layer_tensors(layer, kept[layer.layer], model)
    return outputs


def _layer_tensors(
    layer: MoELayer, kept: Sequence[int], model: MoEModel
) -> list[OutputTensor]:
    block = f"model.layers.{layer.layer}.mlp"
    (shared,) = layer.shared
    routed = [expert for expert in kept if expert != shared]
    outputs = [rows(router, routed) for router in layer.router]
    for new, old in enumerate(routed):
        outputs += [
            whole(t, f"{block}.experts.{new}.{_part(t)}") for t in layer.experts[old]
        ]
    for tensor in layer.experts[shared]:
        name = f"{block}.shared_expert.{_part(tensor)}"
        if _part(tensor) == "down_proj.weight":
            outputs.append(_doubled(tensor, name, model.checkpoint.source))
        else:
            outputs.append(whole(tensor, name))
    gate = layer.router[0]
    outputs.append(_zeros(f"{block}.shared_expert_gate.weight", gate))
    return outputs


def _part(tensor: Tensor) -> str:
    return tensor.name.split(".experts.", 1)[1].split(".", 1)[1]


def _doubled(tensor: Tensor, name: str, source: ByteSource) -> OutputTensor:
    def data() -> bytes:
        from emo_prune.exports.doubling import double  # needs numpy, which is slow

        return double(source.read(tensor.shard, tensor.start, tensor.end), tensor)

    return computed(name, tensor.dtype, tensor.shape, data)


def _zeros(name: str, like: Tensor) -> OutputTensor:
    shape = (1, *like.shape[1:])
    num_bytes = like.num_bytes // like.shape[0]
    return computed(name, like.dtype, shape, lambda: bytes(num_bytes))


def qwen2_moe_config(
    model: MoEModel, kept: Mapping[int, Sequence[int]], top_k: int
) -> dict[str, Any]:
    """Return the Qwen2-MoE config of an EMO model that keeps `kept[layer]`."""
    config = model.config
    taken = (
        "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "hidden_act", "max_position_embeddings",
        "initializer_range", "rms_norm_eps", "use_cache", "tie_word_embeddings",
        "rope_theta", "rope_scaling", "rope_parameters", "attention_dropout", "dtype",
        "torch_dtype", "output_router_logits", "router_aux_loss_coef", "bos_token_id",
        "eos_token_id", "pad_token_id", "transformers_version",
    )  # fmt: skip
    sparse = {layer.layer for layer in model.layers}
    expert_size = int(config["intermediate_size"])
    return {
        "architectures": ["Qwen2MoeForCausalLM"],
        "model_type": "qwen2_moe",
        **{key: config[key] for key in taken if key in config},
        "intermediate_size": config.get("dense_intermediate_size") or expert_size,
        "moe_intermediate_size": expert_size,
        "shared_expert_intermediate_size": expert_size,
        "num_experts": len(kept[model.layers[0].layer]) - 1,
        "num_experts_per_tok": top_k - 1,
        "norm_topk_prob": False,
        "qkv_bias": False,
        "use_sliding_window": False,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [i for i in range(model.num_layers) if i not in sparse],
    }
