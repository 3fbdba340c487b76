"""Select and export in one walk: of the experts, only those that stay are read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_prune.architectures import MoEModel
from emo_prune.architectures.opening import (
    Opened,
    downloaded,
    left_on_the_hub,
    open_model,
    say_what_was_not_kept,
)
from emo_prune.architectures.subset import expert_tensors, router_tensors, whole
from emo_prune.checkpoint import ByteRange, OutputTensor
from emo_prune.errors import ExportError, OutputExists
from emo_prune.exports import GradualExport, plan_export, read_record
from emo_prune.exports.partial import replaced_of
from emo_prune.exports.plan import DEFAULT_SHARD_BYTES
from emo_prune.files import sha256_bytes, write_atomically
from emo_prune.progress import Progress, Silent
from emo_prune.routing import Ranks, StreamedRun, current_ranks, refuse_ranks, resumable
from emo_prune.routing.calibration import calibrate
from emo_prune.selection import NEED_OUTPUTS, Selection
from emo_prune.selection.chooser import Chooser, model_facts, run_key
from emo_prune.tasks import Task

if TYPE_CHECKING:
    from emo_prune.routing.weights import HeldBytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """One subset to be carved: its task, and where checkpoint and selection go.

    Without a `selection` it goes beside the checkpoint: selection.json or, where that
    is another checkpoint's, NAME.selection.json, NAME being the folder's.
    """

    task: Task
    checkpoint: Path
    selection: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractRequest:
    """What to carve out of which model, layer by layer.

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
class Subset:
    """One subset that was carved, the file of its selection, and its size on disk."""

    extraction: Extraction
    selection: Selection
    selection_file: Path
    bytes_written: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """What was carved, in the order asked for; `bytes_read` of the source for all."""

    subsets: tuple[Subset, ...]
    bytes_read: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    """One subset under way: who chooses its experts, and who writes them.

    `earlier` is the hash of the selection of the export that it may replace; whether
    it may is `replacing`.
    """

    extraction: Extraction
    chooser: Chooser
    export: GradualExport
    earlier: str | None
    replacing: bool

    def tensors(self, model: MoEModel, index: int) -> list[OutputTensor]:
        """Return a layer's tensors as they are written, once its experts are chosen."""
        dense = [whole(tensor) for tensor in model.dense_tensors(index)]
        moe = model.layer(index)
        if moe is None:
            return dense
        kept = {layer.layer: layer.kept for layer in self.chooser.chosen}[index]
        return [*dense, *router_tensors(moe, kept), *expert_tensors(moe, kept)]


def extract_experts(
    request: ExtractRequest, progress: Progress | None = None
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
    progress = progress or Silent()
    refuse_ranks(current_ranks(), "extract")
    state = _state_of(request)
    model = open_model(
        request.model, request.revision, remote=request.remote, cache=request.cache
    )
    for output in _outputs(model, request):
        _refuse_existing(output)
    if request.remote:
        opened = left_on_the_hub(model)
    else:
        opened = downloaded(model, request.model)
    outputs = _outputs(opened.model, request)
    with resumable(state, progress), _discarding(outputs, state):
        selections = _walk(request, opened, outputs, state, progress)
        subsets = {
            output.extraction.checkpoint: _finish(
                opened.model, output, selection, request, progress
            )
            for output, selection in zip(outputs, selections, strict=True)
        }
    say_what_was_not_kept(opened.model.checkpoint, progress)
    return Extracted(
        subsets=tuple(subsets[wanted.checkpoint] for wanted in request.extractions),
        bytes_read=opened.model.checkpoint.source.bytes_read,
    )


def _outputs(model: MoEModel, request: ExtractRequest) -> list[_Output]:
    """Return the outputs in an order of their own, for an interrupted run's sake."""
    outputs, state = [], _state_of(request)
    for wanted in sorted(request.extractions, key=lambda one: one.checkpoint.resolve()):
        chooser = Chooser.of(model, request, greedy=True)
        export = GradualExport.of(
            model, chooser.num_kept, wanted.checkpoint, request.max_shard_bytes
        )
        outputs.append(
            _Output(
                extraction=wanted,
                chooser=chooser,
                export=export,
                earlier=_selection_of(wanted.checkpoint),
                replacing=request.force or (request.resume and _went_on(export, state)),
            )
        )
    return outputs


def _went_on(export: GradualExport, state: Path) -> bool:
    """Tell whether an interrupted run was replacing, or has published, an output."""
    folder = export.folder
    return state.is_file() and (folder.replaces or not folder.path.exists())


def _selection_of(checkpoint: Path) -> str | None:
    """Return the hash of the selection of an export that is there already.

    Or was, until an interrupted run put its own in that place.
    """
    for folder in (replaced_of(checkpoint.resolve()), checkpoint):
        with contextlib.suppress(ExportError):
            return read_record(folder).selection_sha256
    return None


def _refuse_existing(output: _Output) -> None:
    output.export.check(force=output.replacing)
    selection = output.extraction.selection
    if selection is None or not selection.exists():
        return
    if selection.is_dir() or not output.replacing:
        raise OutputExists(
            "the output exists already",
            where=selection,
            hint="use --force to replace it, or -o for another place",
        )


def _state_of(request: ExtractRequest) -> Path:
    """Return where the state of the run is kept: beside one of its outputs."""
    first = min(wanted.checkpoint.resolve() for wanted in request.extractions)
    return first.with_name(first.name + ".resume")


def _walk(
    request: ExtractRequest,
    opened: Opened,
    outputs: Sequence[_Output],
    state: Path,
    progress: Progress,
) -> list[Selection]:
    """Walk the layers; what is chosen is written, but for what belongs to no layer."""
    model = opened.model
    calibrated = [
        calibrate(
            output.extraction.task, request, model.config, opened.folder, progress
        )
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
                output.export.create(
                    force=request.force or request.resume, replaces=output.replacing
                )
                continue
            layers = range(done)
            output.export.take_over(
                {index: output.tensors(model, index) for index in layers},
                {index: notes[str(index)][number] for index in layers},
                complete=done == model.num_layers,
            )

    run.observe(
        calibrated,
        [chooser.choose for chooser in choosers],
        Ranks(),
        progress,
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
    except BaseException:
        for output in outputs:
            if state.exists():
                output.export.folder.release()  # to go on from
            else:
                output.export.folder.discard()
        raise


def _finish(
    model: MoEModel,
    output: _Output,
    selection: Selection,
    request: ExtractRequest,
    progress: Progress,
) -> Subset:
    """Write what belongs to no layer, give the folder its name, add the selection."""
    plan = plan_export(model, selection, max_shard_bytes=request.max_shard_bytes)
    layers = range(model.num_layers)
    done = [t.name for index in layers for t in output.tensors(model, index)]
    if output.export.folder.is_held:
        with progress.track("writing the rest", plan.num_bytes, "bytes") as advance:
            output.export.finish(plan, done, advance, force=output.replacing)
    else:  # it had got its name before the run was interrupted
        output.export.check_published(selection)
    file = _selection_file(output, selection)
    write_atomically(file, selection.to_text())
    return Subset(
        extraction=output.extraction,
        selection=selection,
        selection_file=file,
        bytes_written=plan.num_bytes,
    )


def _selection_file(output: _Output, selection: Selection) -> Path:
    """Return where a selection goes; another checkpoint's is never written over."""
    if output.extraction.selection is not None:
        return output.extraction.selection
    checkpoint = output.extraction.checkpoint.absolute()
    beside = checkpoint.with_name("selection.json")
    ours = (selection.sha256, output.earlier)
    if not beside.exists():
        return beside
    if beside.is_file() and sha256_bytes(beside.read_bytes()) in ours:
        return beside
    return checkpoint.with_name(f"{checkpoint.name}.selection.json")
