"""Run calibrations through a model layer by layer, and go on where that was stopped."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_prune.architectures import MoEModel
from emo_prune.checkpoint import FolderSource
from emo_prune.errors import OutputExists, Parameter, SettingsError, StaleRun, Text
from emo_prune.files import digest_of, versions
from emo_prune.models.placement import DTYPES, check_placement, free_memory
from emo_prune.options import ChoiceOptions, PlacementOptions
from emo_prune.progress import Progress
from emo_prune.routing import LayerRouting, Ranks
from emo_prune.routing.calibration import Calibrated
from emo_prune.units import parse_bytes

if TYPE_CHECKING:
    import torch

    from emo_prune.models.skeleton import Skeleton
    from emo_prune.routing.saved_run import SavedRun
    from emo_prune.routing.stream import Calibration
    from emo_prune.routing.weights import HeldBytes

_STORED = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}

Choose = Callable[[LayerRouting], Sequence[int]]
Start = Callable[[int, Mapping[str, Any]], None]
AfterLayer = Callable[[int, "HeldBytes"], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedRun:
    """Calibrations on their way through one model.

    folder: holds config and tokenizer. key: what makes this run itself, besides
    tokens and versions. state: where it is saved after each layer; None saves nothing.
    top_k: of pruned layers. outputs, keep_bytes: as `Walk` takes them.
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
        """Return the routing of each calibration, layer by layer.

        `start` is told how many layers an interrupted run had done, and its notes;
        `after_layer` is told of each layer that is done, and returns notes to be
        saved. The layers that were done are chosen again, from what was counted.

        Raises:
            StaleRun: the interrupted run was another one.
            OutputExists: there is one, and nothing says what to do with it.
            EmoPruneError: the model cannot be run.
        """
        from emo_prune.routing.stream import Walk

        device = stream_device(self.options.device, self.options.dtype, ranks)
        saved = self._saved(calibrated, device)
        resuming = saved is not None and saved.path.exists()
        if self.options.resume and not resuming:
            progress.say("there is nothing to go on from; starting at the first layer")
        progress.say(f"reading {self.model.checkpoint.name} layer by layer")
        skeleton = self._skeleton(device)
        memory = _memory(self.options)
        room = memory // len(calibrated)
        calibrations = [
            self._calibration(skeleton, ranks, part, chooser, room, resuming=resuming)
            for part, chooser in zip(calibrated, choose, strict=True)
        ]
        done, notes = 0, dict[str, Any]()
        if saved is not None and resuming:
            done, notes = saved.load(self.model, calibrations)
            progress.say(f"going on after layer {done - 1}")
            _choose_again(calibrations)
        start(done, notes)

        def save(index: int, held: HeldBytes) -> None:
            notes.update(after_layer(index, held))
            if saved is not None:
                saved.save(index + 1, calibrations, notes)

        walk = Walk(
            model=self.model,
            skeleton=skeleton,
            top_k=self.top_k,
            outputs=self.outputs,
            keep_bytes=self.keep_bytes,
            max_bytes=memory,
            combine=ranks.combine,
            after_layer=save,
        )
        tokens = sum(calibration.num_tokens for calibration in calibrations)
        visits = walk.num_visits(done, greedy=choose[0] is not None)
        with progress.track("observing routing", visits * tokens, "tokens") as advance:
            replace(walk, progress=advance).run(calibrations, done)
        return [calibration.routing for calibration in calibrations]

    def _saved(
        self, calibrated: Sequence[Calibrated], device: torch.device
    ) -> SavedRun | None:
        """Return where the run is saved; what an earlier one left is dealt with."""
        from emo_prune.routing.saved_run import SavedRun

        if self.state is None:
            return None
        batches = [b.input_ids for part in calibrated for b in part.batches]
        key = {
            **self.key,
            "tokens": [part.tokens_sha256 for part in calibrated],
            "batches": digest_of(ids.numpy().tobytes() for ids in batches),
            "dtype": resolved_dtype(self.model, self.options.dtype),
            "device": device.type,
            "files": _stamps(self.model),
            "versions": versions("emo-prune", "torch", "transformers"),
        }
        saved = SavedRun(path=self.state, key=key)
        if not self.options.resume:
            saved.refuse_leftover(force=self.options.force)
        return saved

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

    def _calibration(
        self,
        skeleton: Skeleton,
        ranks: Ranks,
        part: Calibrated,
        choose: Choose | None,
        room: int,
        *,
        resuming: bool,
    ) -> Calibration:
        """Return this process's share, its tokens embedded or its states yet empty."""
        from emo_prune.routing.embedding import embed, empty_states
        from emo_prune.routing.stream import Calibration

        batches = ranks.share(part.batches)
        hidden = (
            empty_states(skeleton, batches, room)
            if resuming
            else embed(self.model, skeleton, batches, room)
        )
        return Calibration(batches=batches, hidden=hidden, choose=choose)


def _choose_again(calibrations: Sequence[Calibration]) -> None:
    for calibration in calibrations:
        if calibration.choose is not None:
            for layer in calibration.routing:
                calibration.choose(layer)


@contextlib.contextmanager
def resumable(state: Path | None, progress: Progress) -> Iterator[None]:
    """Forget a run's state when the block ends well; else say how to go on.

    With None there is no state: nothing is said or removed.
    """
    try:
        yield
    except (OutputExists, StaleRun):
        raise  # what is there belongs to another run
    except BaseException:
        if state is not None and state.exists():
            progress.say(f"{state} holds the layers that are done: resume goes on")
        raise
    if state is not None:
        state.unlink(missing_ok=True)


def _memory(options: ChoiceOptions) -> int:
    """Return the bytes for hidden states and the layer read ahead."""
    if options.max_memory is None:
        return free_memory() // 2
    return parse_bytes(options.max_memory, Parameter("max_memory"))


def must_stream(model: MoEModel, options: PlacementOptions, ranks: Ranks) -> bool:
    """Tell whether a model does not fit into free memory, but can be run by layers."""
    if model.config.get("quantization_config") or options.device == "auto":
        return False
    device = stream_device(options.device, options.dtype, ranks)
    if device.type == "cpu":
        too_large = _bytes_in_memory(model, options) * ranks.size > free_memory()
    else:
        import torch

        free = torch.cuda.mem_get_info(device)[0]
        too_large = _bytes_in_memory(model, options) > free
    return ranks.agree(too_large)


def _bytes_in_memory(model: MoEModel, options: PlacementOptions) -> int:
    """Return the memory a model takes while it is loaded whole."""
    size = model.checkpoint.num_bytes * 13 // 10  # some experts are there twice
    stored = {tensor.dtype for tensor in model.checkpoint.tensors.values()}
    return 2 * size if options.dtype == "float32" and "F32" not in stored else size


def resolved_dtype(model: MoEModel, dtype: str) -> str:
    """Return the dtype to compute in: as asked, as config.json says, or as stored.

    A config that does not say means the floating-point type of most weights. A
    quantised model keeps "auto", for transformers to decide.
    """
    if dtype != "auto" or model.config.get("quantization_config"):
        return dtype
    said = model.config.get("dtype") or model.config.get("torch_dtype")
    if isinstance(said, str) and said.removeprefix("torch.") in DTYPES:
        return said.removeprefix("torch.")
    sizes = Counter[str]()
    for tensor in model.checkpoint.tensors.values():
        if tensor.dtype in _STORED:
            sizes[_STORED[tensor.dtype]] += tensor.num_bytes
    return sizes.most_common(1)[0][0] if sizes else "float32"


def stream_device(device: str | None, dtype: str, ranks: Ranks) -> torch.device:
    """Return the one device that layers are run on; "auto" is one as well.

    Raises:
        SettingsError: this machine has no such device, or there is no such dtype.
    """
    import torch

    check_placement(device, dtype)
    if device not in (None, "auto"):
        return torch.device(str(device))
    found = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(ranks.device or found)


def _stamps(model: MoEModel) -> list[list[Any]]:
    """Return what tells that a checkpoint's files are still the same.

    Name, size and time of change of a folder's shards; the commit of a Hub repository.
    """
    source = model.checkpoint.source
    if not isinstance(source, FolderSource):
        return [[model.checkpoint.revision]]
    found = [(shard, (source.root / shard).stat()) for shard in model.checkpoint.shards]
    return [[shard, stat.st_size, stat.st_mtime_ns] for shard, stat in found]


def refuse_ranks(ranks: Ranks, what: Text) -> None:
    """Raise `SettingsError` for what a single process alone can do."""
    if ranks.size > 1:
        raise SettingsError(
            "this works in one process alone",
            where=what,
            got=f"{ranks.size} processes",
            expected="1",
            hint="run it without torchrun",
        )
