"""Select and export in one walk: of the experts, only those that stay are read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_prune.api.calibrating import RunOptions, calibrate
from emo_prune.api.choosing import Chooser, model_facts, run_key
from emo_prune.api.opening import (
    Opened,
    open_here,
    open_model,
    open_there,
    say_what_was_not_kept,
)
from emo_prune.api.streaming import StreamedRun, refuse_ranks, resumable
from emo_prune.api.watcher import Watcher
from emo_prune.architectures import MoEModel
from emo_prune.architectures.subset import expert_tensors, router_tensors, whole
from emo_prune.checkpoint import ByteRange, OutputTensor
from emo_prune.errors import OutputExists, StaleRun
from emo_prune.export import GradualExport, plan_export
from emo_prune.export.plan import DEFAULT_SHARD_BYTES
from emo_prune.provenance import write_atomically
from emo_prune.routing import Ranks, current_ranks
from emo_prune.selection import NEED_OUTPUTS, Selection
from emo_prune.tasks import Task

if TYPE_CHECKING:
    from emo_prune.routing.weights import HeldBytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """One subset to be carved: its task, and where checkpoint and selection go."""

    task: Task
    checkpoint: Path
    selection: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractRequest(RunOptions):
    """What to carve out of which model; `stream` has no meaning, it always is.

    model: a folder or a Hub id. remote: read a Hub id by byte ranges; nothing but
    those, config and tokenizer is downloaded. cache: a folder that keeps the ranges.
    """

    model: str
    extractions: Sequence[Extraction]
    revision: str | None = None
    remote: bool = False
    cache: Path | None = None
    max_shard_bytes: int = DEFAULT_SHARD_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """What was carved, and the bytes it took: read of the source, and written."""

    selections: tuple[Selection, ...]
    bytes_read: int
    bytes_written: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    """One subset under way: who chooses its experts, and who writes them."""

    extraction: Extraction
    chooser: Chooser
    export: GradualExport

    def tensors(self, model: MoEModel, index: int) -> list[OutputTensor]:
        """Return a layer's tensors as they are written, once its experts are chosen."""
        dense = [whole(tensor) for tensor in model.dense_tensors(index)]
        moe = model.layer(index)
        if moe is None:
            return dense
        kept = {layer.layer: layer.kept for layer in self.chooser.chosen}[index]
        return [*dense, *router_tensors(moe, kept), *expert_tensors(moe, kept)]


def extract_experts(
    request: ExtractRequest, watcher: Watcher | None = None
) -> Extracted:
    """Choose experts layer by layer and write each layer as it is chosen.

    The outcome is that of a greedy selection and its export, byte for byte. Of several
    tasks, each gets its own; what they share is read once. An interrupted run leaves
    `DIR.partial` and `DIR.resume`, from which `resume` goes on.

    Raises:
        BudgetError, OutputExists: before anything is loaded or downloaded.
        StaleRun: the interrupted run was another one.
        EmoPruneError: model, task or examples cannot be used, or the output written.
    """
    watcher = watcher or Watcher()
    refuse_ranks(current_ranks(), "extract")
    model = open_model(
        request.model, request.revision, remote=request.remote, cache=request.cache
    )
    outputs = [_output(model, request, wanted) for wanted in request.extractions]
    for output in outputs:
        _refuse_existing(output, request)
    if request.remote:
        opened = open_there(model)
    else:
        opened = open_here(model, request.model, request.revision)
    outputs = [_output(opened.model, request, wanted) for wanted in request.extractions]
    state = _state_of(request)
    with resumable(state, watcher), _discarding(outputs, state):
        selections = _walk(request, opened, outputs, state, watcher)
        written = tuple(
            _finish(opened.model, output, selection, request, watcher)
            for output, selection in zip(outputs, selections, strict=True)
        )
    say_what_was_not_kept(opened.model, watcher)
    return Extracted(
        selections=tuple(selections),
        bytes_read=opened.model.checkpoint.source.bytes_read,
        bytes_written=written,
    )


def _output(model: MoEModel, request: ExtractRequest, wanted: Extraction) -> _Output:
    chooser = Chooser.of(model, request, greedy=True)
    export = GradualExport.of(
        model, chooser.num_kept, wanted.checkpoint, request.max_shard_bytes
    )
    return _Output(extraction=wanted, chooser=chooser, export=export)


def _refuse_existing(output: _Output, request: ExtractRequest) -> None:
    output.export.check(force=request.force or request.resume)
    selection = output.extraction.selection
    if selection.exists() and not (request.force or request.resume):
        raise OutputExists(
            "the output exists already",
            where=selection,
            hint="use --force to replace it, or -o for another place",
        )


def _state_of(request: ExtractRequest) -> Path:
    """Return where the state of the run is kept: beside its first output."""
    first = request.extractions[0].checkpoint.resolve()
    return first.with_name(first.name + ".resume")


def _walk(
    request: ExtractRequest,
    opened: Opened,
    outputs: Sequence[_Output],
    state: Path,
    watcher: Watcher,
) -> list[Selection]:
    """Walk the layers; what is chosen is written, but for what belongs to no layer."""
    model = opened.model
    calibrated = [
        calibrate(output.extraction.task, request, model, opened.folder, watcher)
        for output in outputs
    ]
    choosers = [output.chooser for output in outputs]
    run = StreamedRun(
        model=model,
        folder=opened.folder,
        options=request,
        key={
            **run_key(opened.fingerprint, choosers),
            "max_shard_bytes": request.max_shard_bytes,
        },
        state=state,
        top_k=choosers[0].budget.top_k,
        outputs=request.score in NEED_OUTPUTS,
        keep_bytes=True,
    )

    def after_layer(index: int, held: HeldBytes) -> Mapping[str, Any]:
        return {str(index): [_write(model, output, index, held) for output in outputs]}

    def start(done: int, notes: Mapping[str, Any]) -> None:
        for number, output in enumerate(outputs):
            if not done:
                output.export.create(force=request.force or request.resume)
            for index in range(done if output.export.under_way else 0):
                checksum = notes[str(index)][number]
                output.export.check_written(output.tensors(model, index), checksum)

    run.observe(
        calibrated,
        [chooser.choose for chooser in choosers],
        Ranks(),
        watcher,
        start=start,
        after_layer=after_layer,
    )
    facts = model_facts(model, opened.fingerprint)
    return [
        output.chooser.selection(facts, part.facts)
        for output, part in zip(outputs, calibrated, strict=True)
    ]


def _write(model: MoEModel, output: _Output, index: int, held: HeldBytes) -> int:
    def find(piece: ByteRange) -> memoryview:
        found = held.find(piece)
        if found is None:
            raise RuntimeError(f"layer {index} was not read whole")
        return found.numpy().data

    return output.export.write(output.tensors(model, index), find)


@contextlib.contextmanager
def _discarding(outputs: Sequence[_Output], state: Path) -> Iterator[None]:
    """Leave nothing of a run that fails before a layer is done."""
    try:
        yield
    except (OutputExists, StaleRun):
        raise  # what is there belongs to another run
    except BaseException:
        if not state.exists():
            for output in outputs:
                output.export.discard()
        raise


def _finish(
    model: MoEModel,
    output: _Output,
    selection: Selection,
    request: ExtractRequest,
    watcher: Watcher,
) -> int:
    """Write what is left of an output, and the selection beside it; return its size."""
    plan = plan_export(model, selection, max_shard_bytes=request.max_shard_bytes)
    last = model.layers[-1].layer
    done = [t.name for index in range(last + 1) for t in output.tensors(model, index)]
    if output.export.under_way:
        with watcher.track("writing the rest", plan.num_bytes, "bytes") as advance:
            output.export.finish(plan, done, advance)
    else:  # published before the run was interrupted
        output.export.check_published(selection)
    write_atomically(output.extraction.selection, selection.to_text())
    return plan.num_bytes
