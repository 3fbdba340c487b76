"""Run batches through a model in memory and count: in one pass, or layer by layer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch

from emo_prune.architectures import Architecture
from emo_prune.routing.batches import Batch, check_vocabulary, num_embeddings
from emo_prune.routing.blocks import moe_blocks, prune_in_place
from emo_prune.routing.counts import LayerRouting
from emo_prune.routing.observer import BlockObserver, PassEnds

Combine = Callable[[LayerRouting], LayerRouting]


def observe(
    model: Any,
    architecture: Architecture,
    batches: Sequence[Batch],
    *,
    outputs: bool = False,
    progress: Callable[[int], None] = lambda _: None,
    combine: Combine = lambda routing: routing,
) -> list[LayerRouting]:
    """Count the routing of every MoE layer in one pass, without the LM head.

    `outputs` also observes the experts' outputs, which REAP and EASY-EP need and
    which costs about one more pass. `progress` is told the tokens of each batch;
    `combine` adds up what several processes have counted.

    Raises:
        RoutingError: a router's scores are not finite.
        CheckpointError: a token id has no embedding.
    """
    check_vocabulary(batches, num_embeddings(model))
    blocks = moe_blocks(model, architecture)
    with contextlib.ExitStack() as stack:
        observers = [
            stack.enter_context(
                BlockObserver(block, scoring=architecture.scoring, outputs=outputs)
            )
            for block in blocks
        ]
        for batch in batches:
            for observer in observers:
                observer.batch = batch
            forward(model, batch)
            progress(int(batch.attention_mask.sum()))
        return [combine(observer.routing) for observer in observers]


def observe_greedy(
    model: Any,
    architecture: Architecture,
    batches: Sequence[Batch],
    choose: Callable[[LayerRouting], Sequence[int]],
    top_k: int,
    *,
    outputs: bool = False,
    progress: Callable[[int], None] = lambda _: None,
    combine: Combine = lambda routing: routing,
) -> list[LayerRouting]:
    """Count layer by layer, each with the earlier layers already pruned.

    `choose` gets a layer's routing and returns the experts it keeps. The model is
    pruned in place. Each layer costs a pass over the layers up to it. After the
    authors' layer-wise selection, https://github.com/allenai/EMO.

    Raises:
        RoutingError: a router's scores are not finite.
        CheckpointError: a token id has no embedding.
    """
    check_vocabulary(batches, num_embeddings(model))
    routing = []
    for block in moe_blocks(model, architecture):
        observer = BlockObserver(
            block, scoring=architecture.scoring, outputs=outputs, ends_pass=True
        )
        with observer:
            for batch in batches:
                observer.batch = batch
                with contextlib.suppress(PassEnds):
                    forward(model, batch)
                progress(int(batch.attention_mask.sum()))
        routing.append(combine(observer.routing))
        prune_in_place(block, choose(routing[-1]), top_k)
    return routing


@torch.inference_mode()
def forward(model: Any, batch: Batch) -> None:
    """Run a batch through a model, without its LM head."""
    device = model.get_input_embeddings().weight.device
    model.base_model(
        input_ids=batch.input_ids.to(device),
        attention_mask=batch.attention_mask.to(device),
        use_cache=False,
        output_router_logits=False,
    )
