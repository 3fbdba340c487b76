"""What a carved layer's FFN computes for a token, beside what it did dense."""

from __future__ import annotations

from emo_prune.carving.dense import DenseModel
from emo_prune.carving.settings import CarveSettings


def dense_flops(model: DenseModel) -> int:
    """Return the FLOPs per token of one dense FFN: two for each weight."""
    return 2 * len(model.feed_forward.matrices) * model.hidden_size * model.size


def carved_flops(model: DenseModel, settings: CarveSettings) -> int:
    """Return those of a carved one: the picked experts, and the gate.

    The gate's are those of N products with a mean key; "inter" computes the
    activations of every expert, and saves on the output matrix alone.

    Left out: each forward pass averages the keys (or up rows) anew, so that the gate
    follows them in training. Those are neurons x hidden size additions for a pass, not
    for a token: little if it has many tokens, half a matrix's FLOPs if it has one.
    """
    matrix = 2 * model.hidden_size * model.size
    picked = matrix * settings.top_k // settings.num_experts
    inputs = len(model.feed_forward.matrices) - 1
    if settings.gate_source == "inter":
        return inputs * matrix + picked
    gate = 2 * model.hidden_size * settings.num_experts
    return (inputs + 1) * picked + gate
