"""Tiny models with random weights, one for every supported architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emo_prune.models.transformers_private import checkpointing_argument

NUM_EXPERTS = 8
VOCABULARY = 258  # bytes, end of text, padding: `tests.evaluation.tiny.byte_tokenizer`

_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.4,
    "pad_token_id": 257,
    "eos_token_id": 256,
    "bos_token_id": None,
}
_GROUPED = {
    "n_routed_experts": NUM_EXPERTS,
    "n_shared_experts": 1,
    "n_group": 2,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "num_hidden_layers": 3,
}
_LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "head_dim": 8,
    "num_key_value_heads": 4,
}
_CARVED = {**_COMMON, "intermediate_size": 128, "num_hidden_layers": 3}
_FEATURES: dict[str, dict[str, Any]] = {
    "emo": {
        "num_experts": NUM_EXPERTS,
        "num_shared_experts": 1,
        "num_experts_per_tok": 3,
        "intermediate_size": 16,
    },
    "emoe": {
        "dense_config": {"model_type": "llama", **_CARVED},
        "intermediate_size": _CARVED["intermediate_size"],  # also of the dense config
        "carved_layers": [0, 2],
        "num_experts": NUM_EXPERTS,
    },
    "emoe of gpt2": {
        "model_type": "emoe",
        "dense_config": {"model_type": "gpt2", "n_inner": 128, **_CARVED},
        "carved_layers": [0, 2],
        "num_experts": NUM_EXPERTS,
    },
    "olmoe": {"num_experts": NUM_EXPERTS, "intermediate_size": 16},
    "flex_olmo": {"num_experts": NUM_EXPERTS, "intermediate_size": 16},
    "mixtral": {"num_local_experts": NUM_EXPERTS},
    "qwen2_moe": {
        "num_experts": NUM_EXPERTS,
        "shared_expert_intermediate_size": 24,
        "mlp_only_layers": [1],
        "num_hidden_layers": 3,
    },
    "qwen3_moe": {"num_experts": NUM_EXPERTS, "head_dim": 8},
    "gpt_oss": {"num_local_experts": NUM_EXPERTS, "head_dim": 8},
    "deepseek_v2": {**_GROUPED, **_LATENT, "topk_method": "group_limited_greedy"},
    "deepseek_v3": {**_GROUPED, **_LATENT, "norm_topk_prob": True},
    "glm4_moe": {**_GROUPED, "head_dim": 8, "norm_topk_prob": True},
    "minimax_m2": {"num_local_experts": NUM_EXPERTS, "head_dim": 8},
}
CHECKPOINTS = tuple(_FEATURES)
MODEL_TYPES = tuple(name for name in CHECKPOINTS if " " not in name)


def tiny_model(name: str, seed: int = 0, **changes: Any) -> Any:
    """Return a float32 model in evaluation mode; the same seed, the same weights.

    `name` is one of `CHECKPOINTS`, or a model type of transformers.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    import emo_prune  # noqa: F401 - registers `emo`

    settings = {"model_type": name, **_COMMON, **_FEATURES.get(name, {}), **changes}
    config = AutoConfig.for_model(**settings)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for part, parameter in model.named_parameters():
            if parameter.dim() > 1:  # some routers start at zero, which ties them all
                torch.nn.init.normal_(parameter, std=config.initializer_range)
            elif part.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.1)
        for part, buffer in model.named_buffers():
            if part.endswith("e_score_correction_bias"):
                torch.nn.init.normal_(buffer, std=0.1)
    return model.eval()


def checkpoint_activations(model: Any) -> None:
    """Recompute a model's activations, by the name that transformers has for it."""
    enable = getattr(model, f"{checkpointing_argument()}_enable")
    enable({"use_reentrant": False})


def save_tiny(folder: Path, name: str, seed: int = 0, **changes: Any) -> Path:
    """Write a tiny model and its tokenizer as a checkpoint."""
    from tests.evaluation.tiny import byte_tokenizer

    tiny_model(name, seed, **changes).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder
