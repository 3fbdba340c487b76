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
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from emo_prune.architectures import MoELayer, MoEModel
from emo_prune.architectures.subset import computed, rows, whole
from emo_prune.checkpoint import ByteSource, OutputTensor, Tensor
from emo_prune.errors import NotExact, Parameter
from emo_prune.exports.claims import (
    EXPERT,
    Claim,
    Kept,
    row_claims,
    same_claims,
    same_names,
    whole_claim,
)
from emo_prune.exports.formats import Format

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

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
_COPIED_KEYS = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "hidden_act", "max_position_embeddings",
    "initializer_range", "rms_norm_eps", "use_cache", "tie_word_embeddings",
    "rope_theta", "rope_scaling", "rope_parameters", "attention_dropout", "dtype",
    "torch_dtype", "output_router_logits", "router_aux_loss_coef", "bos_token_id",
    "eos_token_id", "pad_token_id", "transformers_version",
)  # fmt: skip
_MODEL_NAMES = ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")
_LAYER = re.compile(r"^(model\.layers\.\d+\.)(.+)$")
_REMEDY = (
    *("leave out ", Parameter("layout")),
    ": the export then keeps the layout of the source",
)


class Qwen2Moe(Format):
    """The layout of Qwen2-MoE, which transformers and engines load without us."""

    name = "qwen2_moe"
    outside = 1
    changes = " but the shared experts' down projections, which are doubled exactly"

    def refuse(self, model: MoEModel, kept: Kept, top_k: int) -> None:
        """Raise `NotExact`, naming why, where the two would not compute the same."""
        found = [
            why for why, present in _problems(model, kept, top_k).items() if present
        ]
        unknown = [t.name for t in model.other if _new_name(t.name) is None]
        if unknown:
            found.append(f"tensors such as {unknown[0]}")
        if found:
            raise NotExact(
                "this model cannot be written as qwen2_moe exactly",
                where=model.checkpoint.name,
                got=", ".join(found),
                expected="an EMO model with one shared expert",
                hint=_REMEDY,
            )

    def tensors(self, model: MoEModel, kept: Kept) -> list[OutputTensor]:
        """Return the tensors under Qwen2-MoE's names."""
        outputs = [whole(t, _new_name(t.name)) for t in model.other]
        for layer in model.layers:
            outputs += _layer_tensors(layer, kept[layer.layer], model)
        return outputs

    def config(self, model: MoEModel, kept: Kept, top_k: int) -> dict[str, Any]:
        """Return the config of a Qwen2-MoE that computes the same."""
        config = model.config
        sparse = {layer.layer for layer in model.layers}
        expert_size = int(config["intermediate_size"])
        return {
            "architectures": ["Qwen2MoeForCausalLM"],
            "model_type": "qwen2_moe",
            **{key: config[key] for key in _COPIED_KEYS if key in config},
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

    def leaves_out(self, file: str) -> bool:
        """Leave out the source's own code, which can no longer read it."""
        return file.endswith(".py")

    def card_line(self, model_type: str) -> str:
        """Say how to load it."""
        del model_type
        return "It is a native `qwen2_moe` checkpoint: transformers loads it as it is."

    def names(self, model: MoEModel, kept: Kept, dropped: Sequence[str]) -> set[str]:
        """Return the names; the last expert that is kept is the shared one."""
        names = set()
        for name in same_names(model, kept, dropped):
            found = EXPERT.match(name)
            if found and int(found[3]) == len(kept[int(found[2])]) - 1:
                head = found[1].removesuffix("experts.")
                names.add(f"{head}shared_expert{found[4]}")
            else:
                names.add(_to_qwen2(name))
        for layer in model.layers:
            names.add(f"model.layers.{layer.layer}.mlp.shared_expert_gate.weight")
        return names

    def claims(self, tensor: Tensor, model: MoEModel, kept: Kept) -> Iterator[Claim]:
        """Claim zeros of a gate, twice the source's down projection, else its bytes."""
        head, _, part = tensor.name.partition(".shared_expert")
        if part == "_gate.weight":
            yield Claim(
                target=tensor,
                start=tensor.start,
                end=tensor.end,
                source=None,
                holds=lambda got, _: not any(got),
            )
        elif part:
            layer = int(tensor.name.split(".")[2])
            name = f"{head}.experts.{kept[layer][-1]}{part}"
            origin = model.checkpoint.tensors[name]
            if part == ".down_proj.weight":
                dtype = tensor.dtype
                yield whole_claim(
                    tensor, origin, lambda got, want: is_double(got, want, dtype)
                )
            else:
                yield whole_claim(tensor, origin)
        elif tensor.name.endswith(".mlp.gate.weight"):
            layer = int(tensor.name.split(".")[2])
            origin = model.checkpoint.tensors[tensor.name]
            yield from row_claims(tensor, origin, kept[layer][:-1])
        else:
            yield from same_claims(tensor, _from_qwen2(tensor.name), model, kept)


FORMAT = Qwen2Moe()


# --- what is written ----------------------------------------------------------------


def _problems(model: MoEModel, kept: Kept, top_k: int) -> dict[str, bool]:
    """Return whether each reason for which the two would differ is there."""
    config, model_type = model.config, model.architecture.model_type
    no_rope = "rope_theta" not in config and not config.get("rope_parameters")
    return {
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
        "a config without rope_theta": no_rope,
        **{f"a config without {key}": config.get(key) is None for key in _REQUIRED},
    }


def _new_name(name: str) -> str | None:
    """Return what a tensor outside the experts is called there; None if nowhere."""
    if name in _MODEL_NAMES:
        return name
    found = _LAYER.match(name)
    if found is None or found[2] not in _LAYER_NAMES:
        return None
    return found[1] + _LAYER_NAMES[found[2]]


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
        return double(source.read(tensor.shard, tensor.start, tensor.end), tensor)

    return computed(name, tensor.dtype, tensor.shape, data)


def _zeros(name: str, like: Tensor) -> OutputTensor:
    shape = (1, *like.shape[1:])
    num_bytes = like.num_bytes // like.shape[0]
    return computed(name, like.dtype, shape, lambda: bytes(num_bytes))


def double(raw: bytes, tensor: Tensor) -> bytes:
    """Return little-endian floats times two, bit for bit exact.

    Raises:
        NotExact: a value overflows, or the dtype is not a float this can double.
    """
    import numpy as np  # slow, and the commands that export start at once

    floats = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
    if tensor.dtype == "BF16":
        # The upper half of a float32; doubling leaves the lower half zero.
        wide = (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
        with np.errstate(all="ignore"):
            twice = wide + wide
        result: bytes = (twice.view("<u4") >> 16).astype("<u2").tobytes()
    elif tensor.dtype in floats:
        values = np.frombuffer(raw, floats[tensor.dtype])
        with np.errstate(all="ignore"):
            twice = values + values
        result = twice.tobytes()
    else:
        raise _not_doubled(tensor, f"dtype {tensor.dtype}")
    if not np.isfinite(twice).all():
        raise _not_doubled(tensor, "a value too large to be doubled")
    return result


def _not_doubled(tensor: Tensor, got: str) -> NotExact:
    return NotExact(
        "the shared expert cannot be doubled exactly",
        where=tensor.name,
        got=got,
        expected="finite bf16, f16, f32 or f64 values",
        hint=_REMEDY,
    )


# --- what it is held to: nothing above is used here -----------------------------------


def _to_qwen2(name: str) -> str:
    # Two steps in this order: EMO's second norm has no Qwen2-MoE name to clash with.
    name = name.replace(".pre_feedforward_layernorm.", ".post_attention_layernorm.")
    return name.replace(".pre_attention_layernorm.", ".input_layernorm.")


def _from_qwen2(name: str) -> str:
    name = name.replace(".input_layernorm.", ".pre_attention_layernorm.")
    return name.replace(".post_attention_layernorm.", ".pre_feedforward_layernorm.")


_WIDTHS = {"BF16": "<u2", "F16": "<f2", "F32": "<f4", "F64": "<f8"}


def is_double(got: bytes, want: bytes, dtype: str) -> bool:
    """Tell whether each little-endian float of `got` is finite and twice `want`'s."""
    import numpy as np

    if dtype not in _WIDTHS:
        return False
    with np.errstate(all="ignore"):  # a damaged export may hold anything
        doubled = 2 * _float64(want, dtype)
        # As bytes: zeros of either sign are equal, and must not be.
        same = _float64(got, dtype).tobytes() == doubled.tobytes()
    return same and bool(np.isfinite(doubled).all())


def _float64(raw: bytes, dtype: str) -> npt.NDArray[np.float64]:
    import numpy as np

    if dtype == "BF16":
        padded = np.zeros((len(raw) // 2, 2), dtype="<u2")
        padded[:, 1] = np.frombuffer(raw, "<u2")
        return padded.view("<f4")[:, 0].astype(np.float64)
    return np.frombuffer(raw, _WIDTHS[dtype]).astype(np.float64)
