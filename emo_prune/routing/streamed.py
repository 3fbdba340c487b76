"""Run tasks' examples through a model layer by layer, and go on where that stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_prune.architectures import MoEModel
from emo_prune.files import digest_of, versions
from emo_prune.options import ChoiceOptions
from emo_prune.progress import Progress
from emo_prune.routing.calibration import Calibrated
from emo_prune.routing.counts import LayerRouting
from emo_prune.routing.placement import (
    Ranks,
    refuse_quantised,
    resolved_dtype,
    stream_device,
    stream_memory,
)
from emo_prune.routing.saved_run import SavedRun, refuse_leftover, stamps

if TYPE_CHECKING:
    import torch

    from emo_prune.models.skeleton import Skeleton
    from emo_prune.routing.layers import LayerByLayer, TaskState
    from emo_prune.routing.weights import HeldBytes, ReadAhead

Choose = Callable[[LayerRouting], Sequence[int]]
Start = Callable[[int, Mapping[str, Any]], None]
AfterLayer = Callable[[int, "HeldBytes"], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedRun:
    """One or several tasks' examples on their way through one model.

    folder: holds config and tokenizer. key: what makes this run itself, besides
    tokens and versions. state: where it is saved after each layer; None saves nothing.
    top_k: of pruned layers. outputs, keep_bytes: as `LayerByLayer` takes them.
    """

    model: MoEModel
    folder: Path
    options: ChoiceOptions
    key: Mapping[str, Any]
    state: Path | None
    top_k: int
    outputs: bool
    keep_bytes: bool = False

    def observe(
        self,
        calibrated: Sequence[Calibrated],
        choose: Sequence[Choose | None],
        ranks: Ranks,
        progress: Progress,
        *,
        start: Start = lambda _done, _notes: None,
        after_layer: AfterLayer = lambda _index, _held: {},
    ) -> list[list[LayerRouting]]:
        """Return the routing of each task, layer by layer.

        `start` is told how many layers an interrupted run had done, and its notes;
        `after_layer` is told of each layer that is done, and returns notes to be
        saved. The layers that were done are chosen again, from what was counted.

        Raises:
            StaleRun: the interrupted run was another one.
            OutputExists: there is one, and nothing says what to do with it.
            EmoPruneError: the model cannot be run.
        """
        from emo_prune.routing.weights import give_back_memory, reading_ahead

        saved, layers, states = self._prepared(calibrated, choose, ranks, progress)
        done, notes = 0, dict[str, Any]()
        if saved is not None and saved.path.exists():
            done, notes = saved.load(self.model, states)
            progress.say(f"going on after layer {done - 1}")
            _choose_again(states)
        start(done, notes)
        pinned = layers.skeleton.device.type == "cuda"
        tokens = layers.num_visits(done) * sum(state.num_tokens for state in states)
        with reading_ahead(self.model.checkpoint.source, pinned=pinned) as reader:
            if done < layers.end:
                _read_first(reader, layers, done, progress)
            with progress.track("observing routing", tokens, "tokens") as advance:
                layers = replace(layers, progress=advance)
                for index in range(done, layers.end):
                    held = reader.take(index, *layers.ahead(index))

                    def read_ahead(following: int = index + 1) -> None:
                        if following < layers.end:
                            reader.start(following, *layers.ahead(following))

                    for state in states:
                        layers.visit(index, held, state, read_ahead)
                    notes.update(after_layer(index, held))
                    if saved is not None:
                        saved.save(index + 1, states, notes)
                    del held  # before the next layer's experts are read
                    give_back_memory()
        return [state.routing for state in states]

    def _prepared(
        self,
        calibrated: Sequence[Calibrated],
        choose: Sequence[Choose | None],
        ranks: Ranks,
        progress: Progress,
    ) -> tuple[SavedRun | None, LayerByLayer, list[TaskState]]:
        """Return where the run is saved, what runs a layer, and each task's tokens.

        The tokens are embedded, unless an interrupted run will bring its own states.
        """
        from emo_prune.routing.hidden import embed, empty_states
        from emo_prune.routing.layers import LayerByLayer, TaskState

        refuse_quantised(self.model)
        device = stream_device(self.options.device, self.options.dtype, ranks)
        saved = self._saved(calibrated, device)
        resuming = saved is not None and saved.path.exists()
        if self.options.resume and not resuming:
            progress.say("there is nothing to go on from; starting at the first layer")
        progress.say(f"reading {self.model.checkpoint.name} layer by layer")
        skeleton = self._skeleton(device)
        memory = stream_memory(self.options)
        states = []
        for part, chooses in zip(calibrated, choose, strict=True):
            batches, most = ranks.share(part.batches), memory // len(calibrated)
            hidden = (
                empty_states(skeleton, batches, most)
                if resuming
                else embed(self.model, skeleton, batches, most)
            )
            states.append(TaskState(batches=batches, hidden=hidden, choose=chooses))
        layers = LayerByLayer(
            model=self.model,
            skeleton=skeleton,
            greedy=choose[0] is not None,
            top_k=self.top_k,
            outputs=self.outputs,
            keep_bytes=self.keep_bytes,
            max_bytes=memory,
            combine=ranks.combine,
        )
        return saved, layers, states

    def _saved(
        self, calibrated: Sequence[Calibrated], device: torch.device
    ) -> SavedRun | None:
        """Return where the run is saved; what an earlier one left is dealt with."""
        if self.state is None:
            return None
        batches = [b.input_ids for part in calibrated for b in part.batches]
        key = {
            **self.key,
            "tokens": [part.tokens_sha256 for part in calibrated],
            "batches": digest_of(ids.numpy().tobytes() for ids in batches),
            "dtype": resolved_dtype(self.model, self.options.dtype),
            "device": device.type,
            "files": stamps(self.model),
            "versions": versions("emo-prune", "torch", "transformers"),
        }
        if not self.options.resume:
            refuse_leftover(self.state, force=self.options.force)
            self.state.unlink(missing_ok=True)
        return SavedRun(path=self.state, key=key)

    def _skeleton(self, device: torch.device) -> Skeleton:
        """Build the model without weights; whatever it needs must be there to be read.

        Raises:
            CheckpointError: weights outside the layers are missing.
        """
        from emo_prune.models.loading import missing_weights
        from emo_prune.models.skeleton import build_skeleton

        dtype = resolved_dtype(self.model, self.options.dtype)
        skeleton = build_skeleton(self.folder, device=device, dtype=dtype)
        prefix = f"{skeleton.model.base_model_prefix}."
        stored = {tensor.name.removeprefix(prefix) for tensor in self.model.other}
        needed = skeleton.names_outside_layers
        missing = [name for name in needed if name.removeprefix(prefix) not in stored]
        if missing:
            raise missing_weights(self.model.checkpoint.name, missing)
        return skeleton


def _read_first(
    reader: ReadAhead, layers: LayerByLayer, index: int, progress: Progress
) -> None:
    """Read the first layer, and show how far that is: nothing else runs meanwhile."""
    blocks = layers.ahead(index)
    size = sum(tensor.num_bytes for block in blocks for tensor in block)
    with progress.track(f"reading layer {index}", size, "bytes") as advance:
        reader.read(index, *blocks, progress=advance)


def _choose_again(states: Sequence[TaskState]) -> None:
    for state in states:
        if state.choose is not None:
            for layer in state.routing:
                state.choose(layer)
