"""`extract` selects and exports at once; it reads only the experts that stay."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_prune import places
from emo_prune.architectures import Limits, MoEModel
from emo_prune.architectures.opening import (
    Opened,
    downloaded,
    left_on_the_hub,
    open_model,
    say_what_was_not_kept,
)
from emo_prune.architectures.subset import expert_tensors, router_tensors, whole
from emo_prune.checkpoint import ByteRange, OutputTensor
from emo_prune.errors import (
    Command,
    ExportError,
    Parameter,
    SettingsError,
)
from emo_prune.exports.destination import resolved
from emo_prune.exports.gradual import GradualExport
from emo_prune.exports.partial import replaced_of
from emo_prune.exports.plan import plan_export
from emo_prune.exports.record import read_record
from emo_prune.files import sha256_bytes
from emo_prune.options import (
    ExtractOptions,
    needed_model,
    number_of_examples,
    several,
    verb,
)
from emo_prune.progress import Progress
from emo_prune.routing import Ranks, StreamedRun, current_ranks, refuse_ranks, resumable
from emo_prune.routing.calibration import calibrate
from emo_prune.selection import Selection, needs_outputs
from emo_prune.selection.chooser import Chooser, run_key, source_model
from emo_prune.tasks import Task, parse_task, task_options
from emo_prune.units import format_bytes, parse_bytes

if TYPE_CHECKING:
    from emo_prune.routing.weights import HeldBytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """One subset that was extracted: where it is, and its bytes on disk."""

    checkpoint: Path
    selection_file: Path
    selection: Selection
    bytes_written: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Extracted:
    """What was extracted, in the order of the tasks; `bytes_read` of the source."""

    subsets: tuple[Subset, ...]
    bytes_read: int

    def __repr__(self) -> str:
        where = ", ".join(str(subset.checkpoint) for subset in self.subsets)
        return f"Extracted({where}; {format_bytes(self.bytes_read)} read)"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON value that `extract --json` prints."""
        outputs = [
            {
                "task": subset.selection.calibration.task,
                "checkpoint": str(subset.checkpoint),
                "selection": str(subset.selection_file),
                "num_experts": subset.selection.budget.num_experts,
                "bytes_written": subset.bytes_written,
            }
            for subset in self.subsets
        ]
        return {
            "schema": "emo-prune/extract/1",
            "bytes_read": self.bytes_read,
            "bytes_written": sum(subset.bytes_written for subset in self.subsets),
            "outputs": outputs,
        }


@verb(ExtractOptions)
def extract(options: ExtractOptions) -> Extracted:
    """Choose experts layer by layer and write each layer as it is chosen.

    The outcome is that of a greedy selection and its export, byte for byte. Of several
    tasks, each gets its own; what they share is read once. `output` is the checkpoint's
    folder, with selection.json beside it; of several tasks the folder that gets one of
    each. An interrupted run leaves `DIR.partial` and `DIR.resume`, from which `resume`
    goes on.

    Raises:
        BudgetError, OutputExists: before anything is loaded or downloaded.
        StaleRun: the interrupted run was another one.
        EmoPruneError: model, task or examples cannot be used, or the output written.
    """
    progress = options.progress
    targets = _targets(options)
    refuse_ranks(current_ranks(), Command("extract"))
    if needs_outputs(options.score):
        progress.say(
            f"{options.score} needs outputs: all experts that tokens go to are read"
        )
    state = _state_of(targets)
    name = needed_model(options.model, options.verb)
    cache = None if options.cache is None else Path(options.cache)
    model = open_model(name, options.revision, remote=options.remote, cache=cache)
    for output in _outputs(model, options, targets):
        _refuse_existing(output)
    opened = left_on_the_hub(model) if options.remote else downloaded(model, name)
    outputs = _outputs(opened.model, options, targets)
    with resumable(state, progress), _discarding(outputs, state):
        selections = _written_by_layer(options, opened, outputs, state)
        subsets = {
            output.target.checkpoint: _finish(
                opened.model, output, selection, options, progress
            )
            for output, selection in zip(outputs, selections, strict=True)
        }
    say_what_was_not_kept(opened.model.checkpoint, progress)
    return Extracted(
        subsets=tuple(subsets[target.checkpoint] for target in targets),
        bytes_read=opened.model.checkpoint.source.bytes_read,
    )


# --- what goes where ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """A task, and where its checkpoint and selection go.

    selection: None is beside the checkpoint: selection.json or, where that is another
        checkpoint's, NAME.selection.json, NAME being the folder's.
    """

    task: Task
    checkpoint: Path
    selection: Path | None = None


def _targets(options: ExtractOptions) -> list[_Target]:
    tasks = _tasks(options)
    output = None if options.output is None else Path(options.output)
    if output is not None and resolved(output).name in ("", places.SELECTION):
        raise SettingsError(
            "a checkpoint cannot have this name",
            where=Parameter("output"),
            got=output,
            expected="a folder that is not there yet",
            hint="give the checkpoint's folder; selection.json goes beside it",
        )
    if output is not None and len(tasks) == 1:
        return [_Target(task=tasks[0], checkpoint=output)]
    root = output or places.ROOT
    return [
        _Target(
            task=task,
            checkpoint=root / task.slug / places.CHECKPOINT,
            selection=root / task.slug / places.SELECTION,
        )
        for task in tasks
    ]


def _tasks(options: ExtractOptions) -> list[Task]:
    """Return the tasks that were asked for; each gets a place of its own."""
    names: tuple[str, ...] = several(options.task)
    files: tuple[str | Path, ...] = several(options.examples)
    if not names and not files:
        return [parse_task(None)]  # which says what to give
    tasks = [parse_task(name) for name in names]
    tasks += [parse_task(None, file) for file in files]
    slugs = [task.slug for task in tasks]
    twice = next((slug for slug in slugs if slugs.count(slug) > 1), None)
    if twice is not None:
        raise SettingsError(
            "two tasks would be written to the same place",
            where=(Parameter("task"), ", ", Parameter("examples")),
            got=f"{twice} twice",
            expected="tasks, or names of files, that differ",
            hint="leave one out, or rename a file",
        )
    return tasks


def _state_of(targets: Sequence[_Target]) -> Path:
    """Return where the state of the run is kept: beside one of its outputs."""
    return places.state_of(min(resolved(target.checkpoint) for target in targets))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    """One subset under way: who chooses its experts, and who writes them.

    `earlier` is the hash of the selection of the export that it may replace; whether
    it may is `replacing`.
    """

    target: _Target
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


def _outputs(
    model: MoEModel, options: ExtractOptions, targets: Sequence[_Target]
) -> list[_Output]:
    """Return the outputs in an order of their own, for an interrupted run's sake."""
    outputs, state = [], _state_of(targets)
    for target in sorted(targets, key=lambda one: resolved(one.checkpoint)):
        chooser = Chooser.of(
            Limits.of(model), options, seed=options.seed or 0, greedy=True
        )
        export = GradualExport.of(
            model, chooser.num_kept, target.checkpoint, _shard_bytes(options)
        )
        outputs.append(
            _Output(
                target=target,
                chooser=chooser,
                export=export,
                earlier=_selection_of(target.checkpoint),
                replacing=options.force or (options.resume and _went_on(export, state)),
            )
        )
    return outputs


def _shard_bytes(options: ExtractOptions) -> int:
    return parse_bytes(options.max_shard_size, Parameter("max_shard_size"))


def _went_on(export: GradualExport, state: Path) -> bool:
    """Tell whether an interrupted run was replacing, or has published, an output."""
    folder = export.folder
    return state.is_file() and (folder.replaces or not folder.path.exists())


def _selection_of(checkpoint: Path) -> str | None:
    """Return the hash of the selection of an export that is there already.

    Or was, until an interrupted run put its own in that place.
    """
    for folder in (replaced_of(resolved(checkpoint)), checkpoint):
        with contextlib.suppress(ExportError):
            return read_record(folder).selection_sha256
    return None


def _refuse_existing(output: _Output) -> None:
    output.export.check(force=output.replacing)
    if output.target.selection is not None:
        places.refuse_existing(output.target.selection, force=output.replacing)


# --- the run --------------------------------------------------------------------------


def _written_by_layer(
    options: ExtractOptions,
    opened: Opened,
    outputs: Sequence[_Output],
    state: Path,
) -> list[Selection]:
    """Choose and write each layer's experts; what belongs to no layer is left."""
    model = opened.model
    calibrated = [
        calibrate(
            output.target.task,
            task_options(options, options.seed),
            number_of_examples(options.num_examples),
            config=model.config,
            folder=opened.folder,
            progress=options.progress,
            batch_size=options.batch_size,
        )
        for output in outputs
    ]
    choosers = [output.chooser for output in outputs]
    run = StreamedRun(
        model=model,
        folder=opened.folder,
        options=options,
        key={
            **run_key(opened.fingerprint, choosers),
            "max_shard_bytes": _shard_bytes(options),
        },
        state=state,
        top_k=choosers[0].budget.top_k,
        outputs=needs_outputs(options.score),
        keep_bytes=True,
    )

    def after_layer(index: int, held: HeldBytes) -> Mapping[str, Any]:
        return {str(index): [_write(model, output, index, held) for output in outputs]}

    def start(done: int, notes: Mapping[str, Any]) -> None:
        for number, output in enumerate(outputs):
            if not done:
                output.export.create(
                    force=options.force or options.resume, replaces=output.replacing
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
        options.progress,
        start=start,
        after_layer=after_layer,
    )
    source = source_model(model, opened.fingerprint)
    return [
        output.chooser.selection(source, part.facts)
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
    options: ExtractOptions,
    progress: Progress,
) -> Subset:
    """Write what belongs to no layer, give the folder its name, add the selection."""
    plan = plan_export(model, selection, max_shard_bytes=_shard_bytes(options))
    layers = range(model.num_layers)
    done = [t.name for index in layers for t in output.tensors(model, index)]
    if output.export.folder.is_held:
        with progress.track("writing the rest", plan.num_bytes, "bytes") as advance:
            output.export.finish(plan, done, advance, force=output.replacing)
    else:  # it had got its name before the run was interrupted
        output.export.check_published(selection)
    return Subset(
        checkpoint=output.target.checkpoint,
        selection_file=selection.save(_selection_file(output, selection)),
        selection=selection,
        bytes_written=plan.num_bytes,
    )


def _selection_file(output: _Output, selection: Selection) -> Path:
    """Return where a selection goes; another checkpoint's is never written over."""
    if output.target.selection is not None:
        return output.target.selection
    checkpoint = output.target.checkpoint
    # As it was typed, as every other path that is told; `.` has its own name.
    beside = Path(os.path.normpath(checkpoint / ".." / places.SELECTION))
    ours = (selection.sha256, output.earlier)
    if not beside.exists():
        return beside
    if beside.is_file() and sha256_bytes(beside.read_bytes()) in ours:
        return beside
    return beside.with_name(f"{checkpoint.absolute().name}.{places.SELECTION}")
