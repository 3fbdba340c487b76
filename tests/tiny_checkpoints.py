"""Checkpoint folders made by hand, byte by byte: any dtype, any damage, no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from emo_prune.architectures import MoEModel, describe, fingerprint
from emo_prune.checkpoint import DTYPES, open_checkpoint
from emo_prune.facts import Calibration, SourceModel
from emo_prune.selection import KeptExperts, LayerSelection, Method, Selection

Blob = tuple[str, tuple[int, ...], bytes]
NUM_EXPERTS = 8
CONFIG: dict[str, Any] = {
    "architectures": ["OlmoeForCausalLM"],
    "model_type": "olmoe",
    "num_hidden_layers": 2,
    "hidden_size": 4,
    "num_experts": NUM_EXPERTS,
    "num_experts_per_tok": 2,
}
EMO: dict[str, Any] = CONFIG | {
    "architectures": ["EmoForCausalLM"],
    "model_type": "emo",
    "num_shared_experts": 1,
    "num_experts_per_tok": 3,
}


def blob(dtype: str, *shape: int, seed: int = 0) -> Blob:
    """A tensor of random bytes."""
    size = math.prod(shape) * DTYPES[dtype].bits // 8
    return dtype, shape, np.random.default_rng(seed).bytes(size)


def moe_blobs(
    parts: Mapping[str, tuple[Any, ...]] | None = None,
    *,
    layers: Sequence[int] = (0, 1),
    num_experts: int = NUM_EXPERTS,
    router_dtype: str = "BF16",
) -> dict[str, Blob]:
    """Tensors of a small OLMoE-like model; `parts` are those of one expert."""
    parts = parts or {f"{p}_proj.weight": ("BF16", 3, 4) for p in ("gate", "up")}
    shapes: dict[str, tuple[Any, ...]] = {
        "model.embed_tokens.weight": ("BF16", 10, 4),
        "model.norm.weight": ("F32", 4),
    }
    for layer in layers:
        block = f"model.layers.{layer}.mlp"
        shapes[f"model.layers.{layer}.self_attn.q_proj.weight"] = ("BF16", 4, 4)
        shapes[f"{block}.gate.weight"] = (router_dtype, num_experts, 4)
        for expert in range(num_experts):
            for part, shape in parts.items():
                shapes[f"{block}.experts.{expert}.{part}"] = shape
    return {
        name: blob(*shape, seed=seed)
        for seed, (name, shape) in enumerate(shapes.items())
    }


def file_bytes(header: Any, data: bytes = b"") -> bytes:
    """A safetensors file: a header (JSON, or bytes as they are) and data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def shard_bytes(blobs: Mapping[str, Blob]) -> bytes:
    """A sound safetensors file with these tensors."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, (dtype, shape, data) in blobs.items():
        end = position + len(data)
        header[name] = {
            "dtype": dtype,
            "shape": list(shape),
            "data_offsets": [position, end],
        }
        position = end
    return file_bytes(header, b"".join(data for _, _, data in blobs.values()))


def write_checkpoint(
    folder: Path,
    config: Mapping[str, Any] = CONFIG,
    blobs: Mapping[str, Blob] | None = None,
    *,
    shards: int = 1,
) -> Path:
    """Write config, shards and (for several) the index."""
    blobs = moe_blobs() if blobs is None else blobs
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if shards == 1:
        (folder / "model.safetensors").write_bytes(shard_bytes(blobs))
        return folder
    weight_map: dict[str, str] = {}
    for number in range(shards):
        shard = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: blobs[name] for name in list(blobs)[number::shards]}
        (folder / shard).write_bytes(shard_bytes(part))
        weight_map |= dict.fromkeys(part, shard)
    write_index(folder, weight_map)
    return folder


def write_index(folder: Path, weight_map: Any) -> None:
    """Write an index with this weight_map."""
    text = json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map})
    (folder / "model.safetensors.index.json").write_text(text)


def deserialize(raw: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Return names, dtypes, shapes and data by the reference parser."""
    found: list[tuple[str, dict[str, Any]]]
    found = safetensors.deserialize(raw)  # type: ignore[no-untyped-call]
    return found


def read_blobs(folder: Path) -> dict[str, Blob]:
    """Read every tensor of a folder with the reference parser."""
    return {
        name: (tensor["dtype"], tuple(tensor["shape"]), bytes(tensor["data"]))
        for file in sorted(folder.glob("model*.safetensors"))
        for name, tensor in deserialize(file.read_bytes())
    }


def opened(folder: Path) -> MoEModel:
    """Open a folder and find its experts."""
    return describe(open_checkpoint(str(folder)))


def selection_of(
    model: MoEModel,
    kept: Iterable[int] | Mapping[int, Iterable[int]],
    top_k: int | None = None,
) -> Selection:
    """A selection that keeps these experts, in every layer or by layer."""
    layers = [layer.layer for layer in model.layers]
    ids = (
        {layer: tuple(experts) for layer, experts in kept.items()}
        if isinstance(kept, Mapping)
        else dict.fromkeys(layers, tuple(kept))
    )
    number = max(len(experts) for experts in ids.values())
    return Selection(
        model=SourceModel(
            name=model.checkpoint.name,
            revision=None,
            fingerprint=fingerprint(model),
            model_type=model.architecture.model_type,
            num_experts=model.num_experts,
            num_shared_experts=model.num_shared_experts,
            num_experts_per_tok=model.top_k,
        ),
        calibration=Calibration(
            task="made-up", num_examples=2, num_tokens=10, documents=(), seed=0
        ),
        method=Method(score="frequency", greedy=False),
        budget=KeptExperts(
            keep=number / model.num_experts,
            num_experts=number,
            num_experts_per_tok=top_k or min(model.top_k, number),
        ),
        layers=tuple(
            LayerSelection(
                layer=layer,
                kept=ids[layer],
                retained_mass=0.5,
                retained_picks=0.5,
                stability=None,
                effective_experts=2.0,
            )
            for layer in layers
        ),
        versions={"emo_prune": "0"},
    )
