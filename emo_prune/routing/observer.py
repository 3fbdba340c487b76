"""Run batches through a loaded model, with hooks that count how its blocks route.

Counted is the model's own choice, seen at the experts module, never one derived again
from logits. The legend of shapes: T tokens of a batch with padding, V of them valid,
k picks a token, E experts, H hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from emo_prune.architectures import Architecture
from emo_prune.errors import Parameter, RoutingError
from emo_prune.models.loading import LOADING_FAILURES, failure_reason
from emo_prune.routing.blocks import MoEBlock, moe_blocks, prune_in_place
from emo_prune.routing.calibration import Batch, check_vocabulary
from emo_prune.routing.counts import Combine, LayerRouting


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
        RoutingError: a router's scores are not finite, or the model fails.
        CheckpointError: a token id has no embedding.
    """
    check_vocabulary(batches, num_embeddings(model))
    blocks = moe_blocks(model, architecture)
    with ExitStack() as stack:
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
            progress(batch.num_tokens)
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
        RoutingError: a router's scores are not finite, or the model fails.
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
                with suppress(PassEnds):
                    forward(model, batch)
                progress(batch.num_tokens)
        routing.append(combine(observer.routing))
        prune_in_place(block, choose(routing[-1]), top_k)
    return routing


@torch.inference_mode()
def forward(model: Any, batch: Batch) -> None:
    """Run a batch through a model, without its LM head.

    Raises:
        RoutingError: the model fails.
    """
    device = model.get_input_embeddings().weight.device
    with named_failures(type(model).__name__):
        model.base_model(
            input_ids=batch.input_ids.to(device),
            attention_mask=batch.attention_mask.to(device),
            use_cache=False,
            output_router_logits=False,
        )


def num_embeddings(model: Any) -> int:
    """Return how many token ids a model of transformers can read."""
    return int(model.get_input_embeddings().weight.shape[0])


@contextmanager
def named_failures(where: str) -> Iterator[None]:
    """Raise `RoutingError` for whatever a forward pass of transformers ends in."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RoutingError(
            "the device has too little memory to run the examples",
            where=where,
            got=failure_reason(error),
            hint=(
                *("try ", Parameter("batch_size", 1), ", or ", Parameter("stream")),
                " to run the model layer by layer",
            ),
        ) from error
    except LOADING_FAILURES as error:  # transformers has no error of its own
        raise RoutingError(
            "the model fails when it is run",
            where=where,
            got=failure_reason(error),
            expected="a forward pass over the examples",
            hint="check config.json, and that the model runs in transformers by itself",
        ) from error


class PassEnds(Exception):
    """Raised inside a forward pass once what was wanted has been seen."""


class BlockObserver:
    """Counts the routing of one block while it is entered as a context manager.

    Set `batch` before each forward pass. `outputs` also sums the norms of the
    experts' outputs (for REAP and EASY-EP). `ends_pass` raises `PassEnds` when the
    block has been seen, so that deeper layers need not run.
    """

    def __init__(
        self,
        block: MoEBlock,
        *,
        scoring: Literal["softmax", "sigmoid"],
        outputs: bool = False,
        ends_pass: bool = False,
    ) -> None:
        self._block = block
        self._scoring = scoring
        self._outputs = outputs
        self._ends_pass = ends_pass
        self._handles: list[Any] = []
        self._scores = torch.empty(0)
        self._pending: tuple[Tensor, Tensor, Tensor] | None = None
        shape = (2, block.num_experts)
        self._num_tokens = np.zeros(2, dtype=np.int64)
        self._picks = np.zeros(shape, dtype=np.int64)
        self._mass = np.zeros(shape)
        self._weighted_norms = np.zeros(shape)
        self._token_weighted = np.zeros(shape)
        self.batch: Batch | None = None

    def __enter__(self) -> BlockObserver:
        block = self._block
        self._handles = [
            block.router.register_forward_hook(self._see_logits),
            block.experts.register_forward_pre_hook(self._see_picks, with_kwargs=True),
        ]
        if self._outputs or self._ends_pass:
            self._handles.append(block.block.register_forward_hook(self._see_block))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @property
    def routing(self) -> LayerRouting:
        """What has been counted so far."""
        return LayerRouting(
            layer=self._block.layer,
            num_tokens=self._num_tokens,
            picks=self._picks,
            mass=self._mass,
            weighted_norms=self._weighted_norms if self._outputs else None,
            token_weighted=self._token_weighted if self._outputs else None,
        )

    def _see_logits(self, _module: nn.Module, _args: Any, output: Any) -> None:
        logits = output[0].reshape(-1, self._block.num_experts)
        valid = self._valid_rows(logits.device)
        scores = router_scores(
            logits[valid], self._scoring, self._block.num_shared_experts
        )
        if not bool(torch.isfinite(scores).all()):
            raise RoutingError(
                "the router's scores are not finite numbers",
                where=f"layer {self._block.layer}",
                got="NaN or infinity",
                hint=("check the checkpoint, or try ", Parameter("dtype", "float32")),
            )
        self._scores = scores
        probabilities = scores.double()  # sums that no batch size changes visibly
        if self._scoring == "sigmoid":  # so that every token weighs the same
            probabilities = probabilities / probabilities.sum(dim=-1, keepdim=True)
        halves = self._halves(valid.device)
        for half in (0, 1):
            chosen = probabilities[halves == half]
            self._num_tokens[half] += len(chosen)
            self._mass[half] += chosen.sum(dim=0).cpu().numpy()

    def _see_picks(self, _module: nn.Module, args: Any, kwargs: Any) -> None:
        hidden, picks, weights = (*args, *kwargs.values())[:3]
        hidden = hidden.reshape(-1, hidden.shape[-1])
        valid = self._valid_rows(picks.device)
        halves = self._halves(picks.device)
        for half in (0, 1):
            ids = picks[valid][halves == half].flatten()
            counts = torch.bincount(ids, minlength=self._block.num_experts)
            self._picks[half] += counts.cpu().numpy()
        if self._outputs:
            self._pending = (hidden[valid], picks[valid], weights[valid])
        elif self._ends_pass:
            raise PassEnds

    @torch.no_grad()
    def _see_block(self, _module: nn.Module, _args: Any, output: Any) -> None:
        if self._pending is not None:
            mixed = output[0] if isinstance(output, tuple) else output
            mixed = mixed.reshape(-1, mixed.shape[-1])
            self._add_outputs(*self._pending, mixed[self._valid_rows(mixed.device)])
            self._pending = None
        if self._ends_pass:
            raise PassEnds

    def _add_outputs(
        self, hidden: Tensor, picks: Tensor, weights: Tensor, mixed: Tensor
    ) -> None:
        """Add gate-weighted output norms: hidden, mixed [V, H]; picks, weights [V, k].

        REAP weights an output by what the model weights it by, EASY-EP by the router's
        score before any renormalisation, and its tokens by 1 - cos(h, h + m), h the
        block's input, m its output: in float64, for the two vectors are close.
        """
        wide = hidden.double()
        turn = torch.cosine_similarity(wide, wide + mixed.double(), dim=-1)
        token_weight = (1 - turn).clamp(min=0)
        halves = self._halves(picks.device)
        scores = self._scores.gather(-1, picks).double()
        ones = torch.ones_like(weights[:, :1])
        for column in range(picks.shape[1]):
            chosen = picks[:, column : column + 1]
            # `forward` itself: the hooks must not see this call.
            alone = self._block.experts.forward(hidden, chosen, ones)
            norms = alone.double().norm(dim=-1)
            flat = halves * self._block.num_experts + chosen[:, 0]
            self._sum_into(
                self._weighted_norms, flat, norms * weights[:, column].double()
            )
            self._sum_into(
                self._token_weighted, flat, norms * scores[:, column] * token_weight
            )

    def _sum_into(self, sums: Any, index: Tensor, values: Tensor) -> None:
        total = torch.zeros(sums.size, dtype=torch.float64, device=values.device)
        total.index_add_(0, index, values)
        sums += total.reshape(sums.shape).cpu().numpy()

    def _valid_rows(self, device: torch.device) -> Tensor:
        """Return the positions [V] of the batch's tokens that are not padding."""
        if self.batch is None:
            raise RuntimeError("set `batch` before the forward pass")
        return self.batch.attention_mask.flatten().nonzero()[:, 0].to(device)

    def _halves(self, device: torch.device) -> Tensor:
        """Return for each valid token [V] the half its example is in."""
        if self.batch is None:
            raise RuntimeError("set `batch` before the forward pass")
        mask = self.batch.attention_mask
        halves = self.batch.half[:, None].expand_as(mask)
        return halves.flatten()[mask.flatten().bool()].to(device)


def router_scores(
    logits: Tensor, scoring: Literal["softmax", "sigmoid"], num_shared_experts: int
) -> Tensor:
    """Return the score of each expert before top-k and renormalisation, float32 [T, E].

    Shared experts, the last ones, have a softmax of their own.
    """
    wide = logits.float()
    if scoring == "sigmoid":
        return wide.sigmoid()
    num_routed = wide.shape[-1] - num_shared_experts
    parts = [wide[:, :num_routed], wide[:, num_routed:]]
    return torch.cat([part.softmax(dim=-1) for part in parts], dim=-1)
