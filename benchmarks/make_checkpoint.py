"""Make a checkpoint of the released EMO shape, with random weights.

    python benchmarks/make_checkpoint.py DIR --layers 2

Each layer takes 1.6 GB on top of 0.8 GB of embeddings. Names, shapes, dtype and
sharding are those of the released models; the tokenizer has one token per byte.
`--sparse` writes real headers and no weights at all: the files have their full size
and take no disk, which is all that a reader of headers needs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from emo_prune.checkpoint import (
    ByteRange,
    FolderSource,
    OutputTensor,
    Shard,
    plan_shards,
    write_shard,
)
from emo_prune.errors import EmoPruneError, OutputExists

HIDDEN, INTERMEDIATE, VOCABULARY, HEADS = 2048, 1024, 100_352, 16
CONTEXT, TOP_K = 4096, 8
EOS, PAD = 256, 257  # after the 256 bytes
STD = 0.02  # router logits of a normalised token then spread by about 0.9
MAX_SHARD_BYTES = 2_000_000_000
BLOCK = INTERMEDIATE * HIDDEN  # elements written at a time: one matrix of an expert
SPAN, STRIDE = 16_777_213, 1_000_003  # two primes: no offset comes twice in SPAN blocks

Layout = Iterator[tuple[str, tuple[int, ...]]]


class RandomWeights:
    """Blocks of normal bfloat16 weights: windows of one pool, each at its own offset.

    Drawing 28 GB would take minutes. Two windows share values, but no two blocks
    are the same bytes.
    """

    def __init__(self, seed: int) -> None:
        draws = np.random.default_rng(seed).standard_normal(SPAN + BLOCK, np.float32)
        draws *= np.float32(STD)
        self._pool = to_bfloat16(draws)

    def block(self, number: int, size: int) -> bytes:
        """Return the bytes of block `number`, of `size` elements."""
        start = number * STRIDE % SPAN
        return self._pool[start : start + size].tobytes()


def to_bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Return the bits of finite float32 values as bfloat16, rounded to nearest even."""
    bits = values.view(np.uint32)
    bits = bits + ((bits >> np.uint32(16)) & np.uint32(1)) + np.uint32(0x7FFF)
    return (bits >> np.uint32(16)).astype("<u2")


def tensor_shapes(layers: int, experts: int) -> Layout:
    """Yield name and shape of each tensor, as the released files name them."""
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for layer in range(layers):
        names = dict(layer_shapes(experts))
        for name in sorted(names):
            yield f"model.layers.{layer}.{name}.weight", names[name]
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCABULARY, HIDDEN)


def layer_shapes(experts: int) -> Layout:
    """Yield name and shape of each tensor of a layer."""
    for expert in range(experts):
        yield f"mlp.experts.{expert}.gate_proj", (INTERMEDIATE, HIDDEN)
        yield f"mlp.experts.{expert}.up_proj", (INTERMEDIATE, HIDDEN)
        yield f"mlp.experts.{expert}.down_proj", (HIDDEN, INTERMEDIATE)
    yield "mlp.gate", (experts, HIDDEN)
    for projection in "qkvo":
        yield f"self_attn.{projection}_proj", (HIDDEN, HIDDEN)
    yield "pre_attention_layernorm", (HIDDEN,)
    yield "pre_feedforward_layernorm", (HIDDEN,)


def plan_tensors(shapes: Layout, weights: RandomWeights) -> Iterator[OutputTensor]:
    """Yield the tensors with functions that make their data when they are written.

    Tensors of one axis are norms, `HIDDEN` long.
    """
    number = 0
    for name, shape in shapes:
        if len(shape) == 1:
            ranges = [ByteRange("", 0, 2 * HIDDEN, ones)]
        else:
            elements, ranges = shape[0] * shape[1], []
            for start in range(0, elements, BLOCK):
                size = min(BLOCK, elements - start)
                data = partial(weights.block, number, size)
                ranges.append(ByteRange("", 0, 2 * size, data))
                number += 1
        yield OutputTensor(name=name, dtype="BF16", shape=shape, ranges=tuple(ranges))


def ones() -> bytes:
    """Return the weights of a norm that changes nothing."""
    return to_bfloat16(np.ones(HIDDEN, np.float32)).tobytes()


def config(layers: int, experts: int) -> dict[str, Any]:
    """Return config.json, with the keys of the released ones."""
    return {
        "architectures": ["EmoForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "dtype": "bfloat16",
        "eos_token_id": EOS,
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "initializer_range": STD,
        "intermediate_size": INTERMEDIATE,
        "max_position_embeddings": CONTEXT,
        "model_type": "emo",
        "norm_topk_prob": False,
        "num_attention_heads": HEADS,
        "num_experts": experts,
        "num_experts_per_tok": TOP_K,
        "num_hidden_layers": layers,
        "num_key_value_heads": HEADS,
        "num_shared_experts": 1,
        "output_router_logits": False,
        "pad_token_id": PAD,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 500000.0,
        "router_aux_loss_coef": 0.01,
        "tie_word_embeddings": False,
        "use_cache": True,
        "vocab_size": VOCABULARY,
    }


def write_tokenizer(folder: Path) -> None:
    """Write a tokenizer with a token for each byte, <eos> and <pad>."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<eos>", "<pad>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "eos_token": "<eos>",
        "model_max_length": CONTEXT,
        "pad_token": "<pad>",
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    write_json(folder / "tokenizer_config.json", settings)


def write_index(folder: Path, shards: Sequence[Shard]) -> None:
    """Write the index that says which file holds each tensor."""
    sizes = {t.name: t.num_bytes for shard in shards for t in shard.tensors}
    files = {t.name: shard.name for shard in shards for t in shard.tensors}
    total = sum(sizes.values())
    index = {
        "metadata": {"total_parameters": total // 2, "total_size": total},
        "weight_map": dict(sorted(files.items())),
    }
    write_json(folder / "model.safetensors.index.json", index)


def write_json(file: Path, value: Any) -> None:
    """Write a value as JSON for people."""
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_sparse(shard: Shard, folder: Path) -> None:
    """Write a shard's header and leave a hole where its data would be."""
    with (folder / shard.name).open("xb") as file:
        file.write(shard.header)
        file.truncate(shard.num_bytes)


def make_checkpoint(
    folder: Path,
    *,
    layers: int = 2,
    experts: int = 128,
    seed: int = 0,
    sparse: bool = False,
) -> int:
    """Write a checkpoint into a new folder; return the bytes of its weights.

    The same arguments give the same bytes. If it fails, nothing stays behind.

    Raises:
        OutputExists: the folder is there already.
    """
    shapes = tensor_shapes(layers, experts)
    return write_model(folder, config(layers, experts), shapes, seed, sparse=sparse)


def write_model(
    folder: Path,
    config: dict[str, Any],
    shapes: Layout,
    seed: int,
    *,
    sparse: bool = False,
) -> int:
    """Write a model with random weights and the tokenizer of bytes; return its bytes.

    Raises:
        OutputExists: the folder is there already.
    """
    if folder.exists():
        raise OutputExists(
            "the folder exists already", where=folder, hint="remove it, or name another"
        )
    folder.mkdir(parents=True)
    try:
        tensors = plan_tensors(shapes, RandomWeights(seed))
        shards = plan_shards(tensors, MAX_SHARD_BYTES)
        for shard in shards:
            if sparse:
                write_sparse(shard, folder)
            else:
                write_shard(shard, FolderSource(folder), folder)
        if len(shards) > 1:
            write_index(folder, shards)
        write_json(folder / "config.json", config)
        generation = {"eos_token_id": EOS, "pad_token_id": PAD}
        write_json(folder / "generation_config.json", generation)
        write_tokenizer(folder)
    except BaseException:
        shutil.rmtree(folder)
        raise
    return sum(tensor.num_bytes for shard in shards for tensor in shard.tensors)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, make, say what was made."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="a folder that is not there yet")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--experts", type=int, default=128, help="one of them shared")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sparse", action="store_true", help="headers, no weights")
    options = parser.parse_args(arguments)
    if options.layers < 1 or options.experts < TOP_K:
        parser.error(f"--layers must be at least 1, --experts at least {TOP_K}")
    return told(
        options.folder,
        lambda: make_checkpoint(
            options.folder,
            layers=options.layers,
            experts=options.experts,
            seed=options.seed,
            sparse=options.sparse,
        ),
    )


def told(folder: Path, make: Callable[[], int]) -> int:
    """Make a checkpoint and say what it weighs; return 0, or 1 for a named error."""
    try:
        num_bytes = make()
    except (EmoPruneError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {folder}: {num_bytes:,} bytes of weights", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
