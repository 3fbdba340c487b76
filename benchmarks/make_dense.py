"""Make a dense checkpoint of the shape of Llama 3.2 1B, with random weights.

    python benchmarks/make_dense.py DIR --layers 16

A layer takes 122 MB in bfloat16, the embedding (tied) 525 MB. The tokenizer has one
token per byte.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.make_checkpoint import (
    CONTEXT,
    EOS,
    HIDDEN,
    PAD,
    STD,
    Layout,
    told,
    write_model,
)

INTERMEDIATE, VOCABULARY, HEADS, KEY_VALUE_HEADS, HEAD = 8192, 128_256, 32, 8, 64


def tensor_shapes(layers: int) -> Layout:
    """Yield name and shape of each tensor."""
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for layer in range(layers):
        stem = f"model.layers.{layer}."
        yield f"{stem}input_layernorm.weight", (HIDDEN,)
        yield f"{stem}mlp.gate_proj.weight", (INTERMEDIATE, HIDDEN)
        yield f"{stem}mlp.up_proj.weight", (INTERMEDIATE, HIDDEN)
        yield f"{stem}mlp.down_proj.weight", (HIDDEN, INTERMEDIATE)
        yield f"{stem}post_attention_layernorm.weight", (HIDDEN,)
        for projection in "qo":
            yield f"{stem}self_attn.{projection}_proj.weight", (HIDDEN, HIDDEN)
        for projection in "kv":
            shape = (KEY_VALUE_HEADS * HEAD, HIDDEN)
            yield f"{stem}self_attn.{projection}_proj.weight", shape
    yield "model.norm.weight", (HIDDEN,)


def config(layers: int) -> dict[str, Any]:
    """Return config.json."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "dtype": "bfloat16",
        "eos_token_id": EOS,
        "head_dim": HEAD,
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "initializer_range": STD,
        "intermediate_size": INTERMEDIATE,
        "max_position_embeddings": CONTEXT,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": HEADS,
        "num_hidden_layers": layers,
        "num_key_value_heads": KEY_VALUE_HEADS,
        "pad_token_id": PAD,
        "rms_norm_eps": 1e-05,
        "rope_theta": 500000.0,
        "tie_word_embeddings": True,
        "use_cache": True,
        "vocab_size": VOCABULARY,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, make, say what was made."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="a folder that is not there yet")
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.layers < 1:
        parser.error("--layers must be at least 1")
    shapes = tensor_shapes(options.layers)
    made = config(options.layers)
    return told(
        options.folder,
        lambda: write_model(options.folder, made, shapes, options.seed),
    )


if __name__ == "__main__":
    sys.exit(main())
