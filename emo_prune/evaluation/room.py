"""How many tokens of prompts one forward pass may hold, from free memory.

Importing this module imports torch.
"""

from __future__ import annotations

from typing import Any

import torch

from emo_prune.models.placement import free_memory

_AT_LEAST = 64
# More takes longer on a CPU (measured), for attention is over all tokens of a pass.
_AT_MOST = {"cpu": 512}
_AT_MOST_ELSEWHERE = 2048
_SHARE = 0.5  # of the free memory: the rest is for what this estimate leaves out


def tokens_at_a_time(model: Any, context: int) -> int:
    """Return how many tokens fit into a pass: from 64 to 512, 2048 on a GPU.

    An estimate from the model's sizes, for prompts of up to `context` tokens; of a
    model spread over devices, for its first one.
    """
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    experts = getattr(model.config, "num_experts_per_tok", None) or 1
    # activations, of each expert too; attention scores over the context, twice
    numbers = 16 * config.hidden_size * (1 + experts) + 2 * heads * context
    num_bytes = numbers * model.dtype.itemsize
    num_bytes += 3 * 4 * config.vocab_size  # logits and their softmax in float32
    fits = int(_SHARE * _free_memory(model.device)) // num_bytes
    at_most = _AT_MOST.get(model.device.type, _AT_MOST_ELSEWHERE)
    return int(max(_AT_LEAST, min(at_most, fits)))


def _free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_memory()
