"""One layer of a model at a time: given its weights, observed, pruned, run.

Peak memory is about one layer and the hidden states. Without a choice a layer is read
whole, run and observed. With one, each layer is visited twice: attention and router for
all batches, stopping at the experts; then the choice; then only the kept experts are
read and the layer is run again with them. Hidden states are those of the pruned model,
so that each layer costs two passes of its own, however deep it lies. Where routers are
computed from the experts' own weights (EMoE), all of a layer's experts are read first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from emo_prune.architectures import MoELayer, MoEModel
from emo_prune.architectures.subset import expert_tensors, whole
from emo_prune.checkpoint import OutputTensor
from emo_prune.models.skeleton import Skeleton, refuse_unfilled
from emo_prune.routing.blocks import (
    MoEBlock,
    moe_blocks,
    own_tensors,
    prune_in_place,
)
from emo_prune.routing.calibration import Batch
from emo_prune.routing.counts import LayerRouting
from emo_prune.routing.hidden import HiddenStates
from emo_prune.routing.observer import BlockObserver, PassEnds, named_failures
from emo_prune.routing.weights import HeldBytes

_CHUNK_BYTES = 128 * 1024 * 1024  # experts that are read and fused at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState:
    """How far one task's tokens have come.

    hidden: states before the next layer. choose: gets a layer's routing and returns the
    experts that stay; without it nothing is pruned. routing: of the MoE layers so far.
    """

    batches: Sequence[Batch]
    hidden: HiddenStates
    choose: Callable[[LayerRouting], Sequence[int]] | None = None
    routing: list[LayerRouting] = field(default_factory=list)

    @property
    def num_tokens(self) -> int:
        """Tokens of all batches, without padding."""
        return sum(batch.num_tokens for batch in self.batches)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerByLayer:
    """Runs tasks' tokens through the layers of one model, one layer at a time.

    greedy: experts are chosen layer by layer. top_k: of a pruned layer. outputs: also
    observe the experts' outputs, for REAP and EASY-EP; the experts that tokens go to
    are then read before the choice. keep_bytes: read whatever is kept, for whoever
    writes it: the last layer's experts, and the layers after that, which route nothing.
    max_bytes: memory for the layer read ahead; a layer that is too large is not.
    combine: adds up what several processes have counted. progress: told the tokens of
    each batch that has gone through a layer.
    """

    model: MoEModel
    skeleton: Skeleton
    greedy: bool
    top_k: int
    outputs: bool = False
    keep_bytes: bool = False
    max_bytes: int = 0
    combine: Callable[[LayerRouting], LayerRouting] = lambda routing: routing
    progress: Callable[[int], None] = lambda _: None

    @property
    def last(self) -> int:
        """The last layer with experts; what follows routes nothing."""
        return self.model.layers[-1].layer

    @property
    def end(self) -> int:
        """The first layer that need not be visited."""
        return len(self.skeleton) if self.keep_bytes else self.last + 1

    def num_visits(self, first: int) -> int:
        """Return how often each token goes through a layer, or through part of it."""
        layers = max(0, self.last + 1 - first)
        if not self.greedy:
            return layers
        looks = sum(moe.layer >= first for moe in self.model.layers)
        return layers + max(0, looks - 1) + self.outputs * looks

    def ahead(self, index: int) -> list[list[OutputTensor]]:
        """Return what of a layer is read ahead: the experts too if all will be run.

        They are then there as they lie on disk while the layer before still runs.
        """
        blocks = [[*self._dense(index)]]
        moe = self.model.layer(index)
        runs = not self.greedy and (index < self.last or self.outputs)
        runs = runs or self.model.architecture.is_tied
        if moe is not None and runs and 2 * moe.expert_bytes <= self.max_bytes:
            blocks.append(expert_tensors(moe, range(moe.num_experts)))
        return blocks

    def visit(
        self,
        index: int,
        held: HeldBytes,
        state: TaskState,
        read_ahead: Callable[[], None] = lambda: None,
    ) -> None:
        """Run a layer on one task's tokens, and add what it routed.

        The last layer is run no further than it must be. `read_ahead` is called once
        there is memory for the next layer.

        Raises:
            RoutingError: a router's scores are not finite, or the layer fails.
            CheckpointError: the tensors do not fit the model.
        """
        moe = self.model.layer(index)
        with self._layer(index, held) as block:
            if block is None or moe is None:
                read_ahead()
                if index < self.last:
                    self._run(index, state)
            elif state.choose is None:
                self._observe_whole(index, block, moe, held, state, read_ahead)
            else:
                read_ahead()
                routing = self._observe_first(index, block, moe, held, state)
                state.routing.append(routing)
                kept = state.choose(routing)
                prune_in_place(block, kept, self.top_k)
                if index < self.last or self.keep_bytes:
                    held.read(expert_tensors(moe, kept))
                if index < self.last:
                    self._fill(block, moe, kept, range(len(kept)), held)
                    self._run(index, state)

    def _observe_whole(
        self,
        index: int,
        block: MoEBlock,
        moe: MoELayer,
        held: HeldBytes,
        state: TaskState,
        read_ahead: Callable[[], None],
    ) -> None:
        """Run a layer with all of its experts, and observe it as it runs."""
        # Of the last layer only the router matters.
        stops = index == self.last and not self.outputs
        if not stops or self.model.architecture.is_tied:
            everyone = range(moe.num_experts)
            self._fill(block, moe, everyone, everyone, held)
            held.forget(expert_tensors(moe, everyone))
        # Only now: so no more than two layers are in memory.
        read_ahead()
        with self._observer(block, outputs=self.outputs, stops=stops) as observer:
            self._run(index, state, observer)
        state.routing.append(self.combine(observer.routing))

    def _observe_first(
        self,
        index: int,
        block: MoEBlock,
        moe: MoELayer,
        held: HeldBytes,
        state: TaskState,
    ) -> LayerRouting:
        """Return the routing of a layer whose experts are yet to be chosen."""
        everyone = range(moe.num_experts)
        if self.model.architecture.is_tied:  # the router is made of the experts
            held.read(expert_tensors(moe, everyone))
            self._fill(block, moe, everyone, everyone, held)
        with self._observer(block, outputs=False, stops=True) as observer:
            self._run(index, state, observer)
        routing = self.combine(observer.routing)
        if not self.outputs:
            return routing
        if not self.model.architecture.is_tied:
            # Outputs are those of experts that tokens go to: no others are read.
            touched = routing.picks.sum(axis=0).nonzero()[0].tolist()
            self._fill(block, moe, touched, touched, held)
        with self._observer(block, outputs=True, stops=True) as observer:
            self._run(index, state, observer)
        return self.combine(observer.routing)

    def _observer(
        self, block: MoEBlock, *, outputs: bool, stops: bool
    ) -> BlockObserver:
        return BlockObserver(
            block,
            scoring=self.model.architecture.scoring,
            outputs=outputs,
            ends_pass=stops,
        )

    def _run(
        self, index: int, state: TaskState, observer: BlockObserver | None = None
    ) -> None:
        """Run a layer on all batches; what comes out replaces what went in.

        Where the observer ends each pass at the experts, hidden states stay.
        """
        for number, batch in enumerate(state.batches):
            if observer is not None:
                observer.batch = batch
            hidden = state.hidden[number].to(self.skeleton.device)
            with contextlib.suppress(PassEnds), named_failures(f"layer {index}"):
                state.hidden[number] = self.skeleton.run(
                    index, hidden, batch.attention_mask
                )
            self.progress(batch.num_tokens)

    def _dense(self, index: int) -> Iterator[OutputTensor]:
        """Yield a layer's tensors outside its experts, the router whole."""
        moe = self.model.layer(index)
        router = moe.router if moe else ()
        yield from map(whole, (*self.model.dense_tensors(index), *router))

    @contextlib.contextmanager
    def _layer(self, index: int, held: HeldBytes) -> Iterator[MoEBlock | None]:
        """Give a layer its weights but for the experts'; yield its MoE block.

        Raises:
            CheckpointError: weights are missing from the checkpoint.
        """
        with self.skeleton.fresh_layer(index) as module:
            self.skeleton.load({t.name: held.tensor(t) for t in self._dense(index)})
            block = None
            if self.model.layer(index) is not None:
                blocks = moe_blocks(self.skeleton.model, self.model.architecture)
                block = next(block for block in blocks if block.layer == index)
            apart = block.experts if block else None
            refuse_unfilled(module, f"layer {index}", but=apart)
            yield block

    @torch.no_grad()
    def _fill(
        self,
        block: MoEBlock,
        moe: MoELayer,
        experts: Sequence[int],
        rows: Sequence[int],
        held: HeldBytes,
    ) -> None:
        """Give a block its experts: those of the checkpoint go to the given rows.

        transformers fuses a few at a time, so that little is in memory twice. Rows
        that are given to nobody stay zero.
        """
        module = block.experts
        total = block.num_experts
        empty = {
            name: tensor
            for name, tensor in own_tensors(module)
            if tensor.shape[:1] == (total,)
        }
        filled: dict[str, Tensor] = {}
        size = max(1, _CHUNK_BYTES * moe.num_experts // max(1, moe.expert_bytes))
        for start in range(0, len(experts), size):
            ids, places = experts[start : start + size], rows[start : start + size]
            self._load_experts(module, empty, moe, ids, held)
            if list(places) == list(range(total)):
                return  # all of them at once
            for name, tensor in empty.items():
                if name not in filled:
                    filled[name] = torch.zeros(
                        tensor.shape, dtype=tensor.dtype, device=self.skeleton.device
                    )
                filled[name][list(places)] = getattr(module, name)
        for name, values in filled.items():
            _replace(module, name, values)

    def _load_experts(
        self,
        module: nn.Module,
        empty: Mapping[str, Tensor],
        moe: MoELayer,
        ids: Sequence[int],
        held: HeldBytes,
    ) -> None:
        """Load some experts alone into a module that is made to have so many."""
        tensors = expert_tensors(moe, ids)
        if not held.has(tensors):
            held = HeldBytes(self.model.checkpoint.source)
            held.read(tensors)
        for name, tensor in empty.items():
            shape = (len(ids), *tensor.shape[1:])
            meta = torch.empty(shape, dtype=tensor.dtype, device="meta")
            _replace(module, name, meta)
        self.skeleton.load({tensor.name: held.tensor(tensor) for tensor in tensors})
        refuse_unfilled(module, f"layer {moe.layer}, experts")


def _replace(module: nn.Module, name: str, values: Tensor) -> None:
    """Replace a module's parameter, or buffer, by one without a gradient."""
    is_parameter = name in dict(module.named_parameters(recurse=False))
    new = nn.Parameter(values, requires_grad=False) if is_parameter else values
    setattr(module, name, new)
