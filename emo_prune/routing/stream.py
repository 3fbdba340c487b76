"""Walk calibration tokens through a model layer by layer, weights read as they go.

Peak memory is about one layer and the hidden states. In one pass a layer is read whole,
run and observed. In a greedy walk each layer is visited twice: attention and router for
all batches, stopping at the experts; then the choice; then only the kept experts are
read and the layer is run again with them. Hidden states are those of the pruned model,
so that each layer costs two passes of its own, however deep it lies.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from emo_prune.architectures import MoELayer, MoEModel
from emo_prune.architectures.subset import expert_tensors, whole
from emo_prune.checkpoint import OutputTensor
from emo_prune.models.skeleton import Skeleton, refuse_unfilled
from emo_prune.routing.batches import Batch
from emo_prune.routing.blocks import (
    MoEBlock,
    moe_blocks,
    own_tensors,
    prune_in_place,
)
from emo_prune.routing.counts import LayerRouting
from emo_prune.routing.hidden import HiddenStates
from emo_prune.routing.observer import BlockObserver, PassEnds
from emo_prune.routing.weights import HeldBytes, reading_ahead

_CHUNK_BYTES = 128 * 1024 * 1024  # experts that are read and fused at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """One task's tokens on their way through the layers.

    `choose` gets a layer's routing and returns the experts that stay; without it
    nothing is pruned. `routing` grows by one entry with each MoE layer.
    """

    batches: Sequence[Batch]
    hidden: HiddenStates
    choose: Callable[[LayerRouting], Sequence[int]] | None = None
    routing: list[LayerRouting] = field(default_factory=list)

    @property
    def num_tokens(self) -> int:
        """Tokens of all batches, without padding."""
        return sum(int(batch.attention_mask.sum()) for batch in self.batches)


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """How the layers are walked.

    top_k: of a pruned layer. outputs: also observe the experts' outputs, for REAP and
    EASY-EP; the experts that tokens go to are then read before the choice.
    keep_bytes: read whatever is kept, for whoever writes it: the last layer's experts,
    and the layers after that, which route nothing.
    max_bytes: memory for the layer read ahead; a layer that is too large is not.
    combine: adds up what several processes have counted. progress: told the tokens of
    each batch that has gone through a layer. after_layer: told of each layer that is
    done, with the bytes read.
    """

    model: MoEModel
    skeleton: Skeleton
    top_k: int
    outputs: bool = False
    keep_bytes: bool = False
    max_bytes: int = 0
    combine: Callable[[LayerRouting], LayerRouting] = lambda routing: routing
    progress: Callable[[int], None] = lambda _: None
    after_layer: Callable[[int, HeldBytes], None] = lambda _index, _held: None

    @property
    def tied(self) -> bool:
        """Whether routers are computed from the experts' own weights."""
        return self.model.architecture.is_tied

    @property
    def last(self) -> int:
        """The last layer with experts; what follows routes nothing."""
        return self.model.layers[-1].layer

    def num_visits(self, first: int = 0, *, greedy: bool) -> int:
        """Return how often each token goes through a layer, or through part of it."""
        layers = max(0, self.last + 1 - first)
        looks = sum(moe.layer >= first for moe in self.model.layers)
        return layers + (max(0, looks - 1) + self.outputs * looks if greedy else 0)

    def run(self, calibrations: Sequence[Calibration], first: int = 0) -> None:
        """Walk all calibrations through the layers from `first` on.

        Raises:
            RoutingError: a router's scores are not finite.
            CheckpointError: the tensors do not fit the model.
        """
        greedy = any(calibration.choose for calibration in calibrations)
        pinned = self.skeleton.device.type == "cuda"
        source = self.model.checkpoint.source
        with reading_ahead(source, pinned=pinned) as reader:
            end = len(self.skeleton) if self.keep_bytes else self.last + 1
            for index in range(first, end):
                held = reader.take(index, *self._ahead(index, greedy))

                def read_ahead(following: int = index + 1) -> None:
                    if following < end:
                        reader.start(following, *self._ahead(following, greedy))

                if greedy:
                    read_ahead()
                for calibration in calibrations:
                    with self._layer(index, held) as block:
                        self._visit(index, block, held, calibration, read_ahead)
                self.after_layer(index, held)
                del held  # before the next layer's experts are read
                _give_back_memory()

    def _ahead(self, index: int, greedy: bool) -> list[list[OutputTensor]]:
        """Return what of a layer is read ahead: the experts too if all will be run.

        They are then there as they lie on disk while the layer before still runs.
        """
        blocks = [[*self._dense(index)]]
        moe = self.model.layer(index)
        runs = self.tied or (not greedy and (index < self.last or self.outputs))
        if moe is not None and runs and 2 * moe.expert_bytes <= self.max_bytes:
            blocks.append(expert_tensors(moe, range(moe.num_experts)))
        return blocks

    def _dense(self, index: int) -> Iterator[OutputTensor]:
        """Yield a layer's tensors outside its experts, the router whole."""
        moe = self.model.layer(index)
        router = moe.router if moe else ()
        yield from map(whole, (*self.model.dense_tensors(index), *router))

    @contextlib.contextmanager
    def _layer(self, index: int, held: HeldBytes) -> Iterator[MoEBlock | None]:
        """Lend a layer with its weights but for the experts'; yield its MoE block.

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

    def _visit(
        self,
        index: int,
        block: MoEBlock | None,
        held: HeldBytes,
        calibration: Calibration,
        read_ahead: Callable[[], None],
    ) -> None:
        moe = self.model.layer(index)
        if block is None or moe is None:
            read_ahead()
            if index < self.last:
                self._advance(index, calibration)
        elif calibration.choose is None:
            self._observe_running(index, block, moe, held, calibration, read_ahead)
        else:
            self._look(index, block, moe, held, calibration)
            kept = calibration.choose(calibration.routing[-1])
            prune_in_place(block, kept, self.top_k)
            if index < self.last or self.keep_bytes:
                held.read(expert_tensors(moe, kept))
            if index < self.last:
                self._fill(block, moe, kept, range(len(kept)), held)
                self._advance(index, calibration)

    def _observe_running(
        self,
        index: int,
        block: MoEBlock,
        moe: MoELayer,
        held: HeldBytes,
        calibration: Calibration,
        read_ahead: Callable[[], None],
    ) -> None:
        """Run a whole layer and observe it; the last one only as far as it must be.

        The next one is read when this one's bytes have been fused and let go: so no
        more than two layers are in memory.
        """
        stops = index == self.last and not self.outputs
        if not stops or self.tied:
            everyone = range(moe.num_experts)
            self._fill(block, moe, everyone, everyone, held)
            held.forget(expert_tensors(moe, everyone))
        read_ahead()
        self._observe(index, block, calibration, outputs=self.outputs, stops=stops)

    def _look(
        self,
        index: int,
        block: MoEBlock,
        moe: MoELayer,
        held: HeldBytes,
        calibration: Calibration,
    ) -> None:
        """Observe a layer before its experts are chosen.

        Where the router is computed from the experts, all of them are read for it.
        """
        everyone = range(moe.num_experts)
        if self.tied:
            held.read(expert_tensors(moe, everyone))
            self._fill(block, moe, everyone, everyone, held)
        self._observe(index, block, calibration, outputs=False, stops=True)
        if not self.outputs:
            return
        routers_alone = calibration.routing.pop()
        if not self.tied:
            touched = routers_alone.picks.sum(axis=0).nonzero()[0].tolist()
            self._fill(block, moe, touched, touched, held)
        self._observe(index, block, calibration, outputs=True, stops=True)

    def _observe(
        self,
        index: int,
        block: MoEBlock,
        calibration: Calibration,
        *,
        outputs: bool,
        stops: bool,
    ) -> None:
        observer = BlockObserver(
            block,
            scoring=self.model.architecture.scoring,
            outputs=outputs,
            ends_pass=stops,
        )
        with observer:
            for number, batch in enumerate(calibration.batches):
                observer.batch = batch
                with contextlib.suppress(PassEnds):
                    calibration.hidden[number] = self._run(index, number, calibration)
                self.progress(int(batch.attention_mask.sum()))
        calibration.routing.append(self.combine(observer.routing))

    def _advance(self, index: int, calibration: Calibration) -> None:
        """Run a layer on all batches; what comes out replaces what went in."""
        for number, batch in enumerate(calibration.batches):
            calibration.hidden[number] = self._run(index, number, calibration)
            self.progress(int(batch.attention_mask.sum()))

    def _run(self, index: int, number: int, calibration: Calibration) -> Tensor:
        hidden = calibration.hidden[number].to(self.skeleton.device)
        mask = calibration.batches[number].attention_mask
        return self.skeleton.run(index, hidden, mask)

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


def _give_back_memory() -> None:
    """Return freed memory to the system, where the C library keeps it (glibc).

    Tensors of a few megabytes leave holes that would add up from layer to layer.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
