"""Small models, made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from emo_prune import EmoConfig, EmoForCausalLM

TINY = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "num_experts": 8,
    "num_experts_per_tok": 3,
    "num_shared_experts": 1,
    "pad_token_id": 0,
    "eos_token_id": 49,
    "initializer_range": 0.3,
}


@pytest.fixture
def tiny_config() -> Callable[..., EmoConfig]:
    """Make an EMO configuration with some fields changed."""
    return lambda **changes: EmoConfig(**(TINY | changes))


@pytest.fixture
def tiny_emo(tiny_config: Callable[..., EmoConfig]) -> Callable[..., Any]:
    """Make a randomly initialised EMO model, the same each time."""

    def make(**changes: Any) -> Any:
        torch.manual_seed(0)
        return EmoForCausalLM(tiny_config(**changes)).eval()

    return make


@pytest.fixture
def tokens() -> torch.Tensor:
    """Two sequences of twelve token ids, none of them padding."""
    return torch.arange(1, 25).reshape(2, 12) * 7 % 48 + 1


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Read every tensor of a checkpoint, by its name on disk."""
    shards = sorted(folder.glob("model*.safetensors"))
    return {k: v for shard in shards for k, v in load_file(shard).items()}
