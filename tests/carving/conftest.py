"""Dense checkpoints of every kind that can be carved."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from emo_prune import CarvingRecord, carve
from tests.evaluation.tiny import byte_tokenizer
from tests.tiny_checkpoints import Blob, read_blobs, write_checkpoint
from tests.tiny_emoe import DENSE_TYPES, WIDTH, dense_model

__all__ = ["WIDTH"]

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    **{model_type: (model_type, {}) for model_type in DENSE_TYPES},
    "llama with biases": ("llama", {"mlp_bias": True, "attention_bias": True}),
    "llama with tied embeddings": ("llama", {"tie_word_embeddings": True}),
    "llama in bfloat16": ("llama", {}),
    "llama in shards": ("llama", {}),
    "gpt2 without prefix": ("gpt2", {}),
    "gpt2 in float16 shards": ("gpt2", {}),
}
Dense = Callable[[str], Path]
Config = dict[str, Any]
Blobs = dict[str, Blob]


@pytest.fixture(scope="session")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Dense:
    """Return the folder of a dense model with a tokenizer and a card: do not change."""

    @cache
    def folder(kind: str) -> Path:
        model_type, changes = KINDS[kind]
        saved = tmp_path_factory.mktemp("dense") / model_type
        model = dense_model(model_type, **changes)
        dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}
        model.to(next((d for name, d in dtype.items() if name in kind), torch.float32))
        size = "40KB" if "shards" in kind else "1GB"
        model.save_pretrained(saved, max_shard_size=size)
        byte_tokenizer().save_pretrained(saved)
        (saved / "README.md").write_text("the card of the dense model\n")
        if "without prefix" in kind:
            _without_prefix(saved)
        return saved

    return folder


def _without_prefix(folder: Path) -> None:
    """Name tensors as the first GPT-2 checkpoints do."""
    config = json.loads((folder / "config.json").read_text())
    blobs = read_blobs(folder)
    named = {name.removeprefix("transformer."): blob for name, blob in blobs.items()}
    write_checkpoint(folder, config, named)


def edited(
    source: Path, folder: Path, edit: Callable[[Config, Blobs], None] | None = None
) -> Path:
    """Write a checkpoint again, after an edit."""
    config, blobs = json.loads((source / "config.json").read_text()), read_blobs(source)
    if edit is not None:
        edit(config, blobs)
    return write_checkpoint(folder, config, blobs)


def carved(dense: Path, destination: Path, **options: Any) -> CarvingRecord:
    """Carve all layers into 8 experts, unless `options` say otherwise."""
    chosen = {"num_experts": 8, "top_k": 2, "layers": "all", **options}
    return carve(dense, output=destination, **chosen)
