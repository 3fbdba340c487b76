"""Tiny dense models, and EMoE checkpoints carved from them by a split that is given."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.tiny_models import NUM_EXPERTS, tiny_model

DENSE_TYPES = ("llama", "mistral", "qwen2", "qwen3", "olmo2", "gpt2")
WIDTH = 64  # neurons of a dense layer

_IN_FFN = re.compile(
    r"^(?P<head>(?:.+\.)?(?:layers|h)\.(?P<layer>\d+)\.mlp\.)(?P<part>.+)$"
)
# The axis of a tensor that runs over the neurons; a bias of the last matrix has none.
_AXES = {
    "gate_proj.weight": 0,
    "up_proj.weight": 0,
    "down_proj.weight": 1,
    "gate_proj.bias": 0,
    "up_proj.bias": 0,
    "c_fc.weight": 1,
    "c_fc.bias": 0,
    "c_proj.weight": 0,
}


def dense_model(model_type: str, seed: int = 0, **changes: Any) -> Any:
    """Return a dense float32 model of three layers, its biases not zero."""
    width = "n_inner" if model_type == "gpt2" else "intermediate_size"
    sizes = {width: WIDTH, "num_hidden_layers": 3, "initializer_range": 0.2}
    return tiny_model(model_type, seed, **{**sizes, **changes})


def scattered(num_experts: int = NUM_EXPERTS, width: int = WIDTH) -> list[list[int]]:
    """Return a split in which the neurons of an expert lie far apart."""
    return [list(range(first, width, num_experts)) for first in range(num_experts)]


def carve_folder(
    dense: Path,
    folder: Path,
    *,
    layers: Sequence[int] = (0, 2),
    split: Sequence[Sequence[int]] | None = None,
    top_k: int = 2,
    gate_source: str = "gate",
) -> Path:
    """Write the carved checkpoint of a dense one, which has a single shard."""
    from safetensors.torch import load_file, save_file

    split = scattered() if split is None else split
    shutil.copytree(dense, folder)
    source = json.loads((dense / "config.json").read_text())
    carved: dict[str, Any] = {}
    for name, tensor in load_file(dense / "model.safetensors").items():
        found = _IN_FFN.match(name)
        axis = _AXES.get(found["part"]) if found else None
        if found is None or axis is None or int(found["layer"]) not in layers:
            carved[name] = tensor
            continue
        carved |= _parts(tensor, axis, split, found["head"] + "experts", found["part"])
    save_file(carved, folder / "model.safetensors", {"format": "pt"})
    config = emoe_config(source, list(layers), split, top_k, gate_source)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _parts(
    tensor: Any, axis: int, split: Sequence[Sequence[int]], experts: str, part: str
) -> dict[str, Any]:
    import torch

    parts: dict[str, Any] = {}
    for expert, neurons in enumerate(split):
        ids = torch.tensor(neurons, dtype=torch.int32)
        parts[f"{experts}.{expert}.{part}"] = tensor.index_select(axis, ids)
        parts[f"{experts}.{expert}.neurons"] = ids
    return parts


def emoe_config(
    dense: dict[str, Any],
    layers: list[int],
    split: Sequence[Sequence[int]],
    top_k: int,
    gate_source: str,
) -> dict[str, Any]:
    """Return the config.json of a carved checkpoint."""
    return {
        "architectures": ["EmoeForCausalLM"],
        "model_type": "emoe",
        "dense_config": dense,
        "carved_layers": layers,
        "num_experts": len(split),
        "num_experts_per_tok": top_k,
        "moe_intermediate_size": len(split[0]),
        "gate_source": gate_source,
        "vocab_size": dense["vocab_size"],
        "hidden_size": dense.get("hidden_size", dense.get("n_embd")),
        "num_hidden_layers": dense.get("num_hidden_layers", dense.get("n_layer")),
        "max_position_embeddings": dense.get(
            "max_position_embeddings", dense.get("n_positions")
        ),
        "tie_word_embeddings": dense.get("tie_word_embeddings", False),
        **{
            key: dense[key]
            for key in ("dtype", "bos_token_id", "eos_token_id", "pad_token_id")
            if key in dense
        },
    }
