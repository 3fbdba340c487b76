"""Make a model that benchmarks/eval.py scores, as a float32 checkpoint.

    python benchmarks/make_scored_model.py smollm2 DIR --gguf FILE
    python benchmarks/make_scored_model.py moe DIR --tokenizer DIR --layers 8

`smollm2` reads SmolLM2-135M from a GGUF file, which takes the package `gguf`; `moe` is
a mixture of experts of OLMoE's shape and of a similar size with random weights.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, OlmoeConfig


def smollm2(gguf: Path, output: Path) -> None:
    """Write the model and the tokenizer of a GGUF file."""
    where = {"gguf_file": gguf.name}
    read = AutoModelForCausalLM.from_pretrained(
        gguf.parent, dtype=torch.float32, **where
    )
    # what was read is quantised no longer, but refuses to be saved: a new one does not
    config = LlamaConfig.from_dict(
        {k: v for k, v in read.config.to_dict().items() if k != "quantization_config"}
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(output)
    AutoTokenizer.from_pretrained(gguf.parent, **where).save_pretrained(output)


def moe(tokenizer: Path, output: Path, layers: int) -> None:
    """Write a model with random weights, and a tokenizer that is there."""
    read = AutoTokenizer.from_pretrained(tokenizer)
    torch.manual_seed(0)
    config = OlmoeConfig(
        vocab_size=len(read),
        hidden_size=512,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=8,
        num_experts=64,
        num_experts_per_tok=8,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=read.bos_token_id,
        eos_token_id=read.eos_token_id,
        pad_token_id=read.pad_token_id,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(output)
    read.save_pretrained(output)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make one model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("kind", choices=("smollm2", "moe"))
    parser.add_argument("output", type=Path)
    parser.add_argument("--gguf", type=Path, help="of smollm2")
    parser.add_argument("--tokenizer", type=Path, help="of moe: a checkpoint's folder")
    parser.add_argument("--layers", type=int, default=8, help="of moe")
    options = parser.parse_args(arguments)
    if options.kind == "smollm2":
        smollm2(options.gguf, options.output)
    else:
        moe(options.tokenizer, options.output, options.layers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
