"""The loss of a model on windows of text."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from windows import Windows

_BATCH = 16


@torch.inference_mode()
def mean_loss(model: Any, windows: Windows) -> float:
    """Return the mean loss over all predicted tokens, in nats.

    Windows are filled up on the right, where a causal model does not look.
    """
    total, count = 0.0, 0
    for start in range(0, len(windows.tokens), _BATCH):
        tokens = windows.tokens[start : start + _BATCH]
        predicted = windows.valid[start : start + _BATCH, 1:].flatten()
        logits = model(input_ids=tokens, use_cache=False).logits[:, :-1]
        losses = functional.cross_entropy(
            logits.flatten(0, 1).float(), tokens[:, 1:].flatten(), reduction="none"
        )
        total += float(losses[predicted].double().sum())
        count += int(predicted.sum())
    return total / count
