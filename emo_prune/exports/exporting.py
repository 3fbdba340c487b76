"""`export` writes the smaller checkpoint that a selection describes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_prune import places
from emo_prune.architectures import describe
from emo_prune.architectures.opening import open_model, say_what_was_not_kept
from emo_prune.checkpoint import create_shard, fill_shard, local_folder, remember
from emo_prune.errors import (
    Command,
    ExportError,
    Parameter,
    SettingsError,
)
from emo_prune.exports.destination import check_destination
from emo_prune.exports.plan import ExportPlan, plan_export
from emo_prune.exports.publishing import appearing, reopened, write_files
from emo_prune.exports.record import ExportRecord, find_source, read_record
from emo_prune.options import ExportAllOptions, ExportOptions, verb
from emo_prune.selection import Selection, load_selection
from emo_prune.units import format_bytes, parse_bytes


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Exported:
    """An export that was written to `path`, or would be; `plan` says all of it."""

    path: Path
    plan: ExportPlan
    is_written: bool = True

    def __repr__(self) -> str:
        share = self.num_bytes / max(self.record.source_bytes, 1)
        return (
            f"Exported({str(self.path)!r}, {self.plan.num_tensors} tensors, "
            f"{format_bytes(self.num_bytes)} of weights, {share:.1%} of the source"
            f"{'' if self.is_written else ', not written'})"
        )

    @property
    def record(self) -> ExportRecord:
        """What it was made from: the content of emo_prune.json."""
        return self.plan.record

    @property
    def num_bytes(self) -> int:
        """Bytes of all tensors; `plan.num_bytes` are those of all files."""
        return self.plan.record.num_bytes

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON value; of one that was not written, every tensor as well."""
        plan, record = self.plan, self.plan.record
        value = {
            "path": str(self.path),
            "written": self.is_written,
            "layout": record.layout,
            "num_tensors": plan.num_tensors,
            "num_bytes": record.num_bytes,
            "source_bytes": record.source_bytes,
            "bytes_on_disk": plan.num_bytes,
            "shards": {shard.name: shard.num_bytes for shard in plan.shards},
            "config_changes": {k: list(v) for k, v in plan.config_changes.items()},
            "copied": dict(plan.copied),
            "left_out": list(record.left_out),
            "selection_sha256": record.selection_sha256,
        }
        if not self.is_written:
            value["tensors"] = {
                tensor.name: {
                    "dtype": tensor.dtype,
                    "shape": list(tensor.shape),
                    "num_bytes": tensor.num_bytes,
                    "shard": shard.name,
                }
                for shard in plan.shards
                for tensor in shard.tensors
            }
        return value


@verb(ExportOptions)
def export(options: ExportOptions) -> Exported:
    """Write the smaller checkpoint that a selection describes.

    Bytes are copied, never decoded. The folder appears complete or not at all. Without
    `output` it goes beside the selection's file, or where `select` puts its task's;
    without `model` the one that the selection was made for is found.

    Raises:
        FingerprintMismatch, BadSelection: the selection is not one for this model.
        NotExact: the layout cannot hold this model exactly.
        OutputExists, NotEnoughDisk, ExportError: it cannot be written there.
        EmoPruneError: the model cannot be used.
    """
    selection, destination = _asked_for(options)
    made = _planned(options, selection, destination)
    _write(options, made)
    return made


@verb(ExportAllOptions)
def export_all(options: ExportAllOptions) -> tuple[Exported, ...]:
    """Export each selection under emo-prune-out/ that has no up-to-date export.

    All are checked before one is written. With `force`, out-of-date ones are replaced.

    Raises:
        ExportError: there is no selection.
        EmoPruneError: as `export`.
    """
    files = places.selections()
    if not files:
        raise ExportError(
            "there is no selection to export",
            where=places.ROOT,
            expected=f"{places.ROOT}/<task>/{places.SELECTION}",
            hint=(
                *("run ", Command("select", {"task": "math"}), " first, or give "),
                Parameter("selection", "FILE"),
            ),
        )
    found = [
        (load_selection(file), places.checkpoint_folder(file, options.layout))
        for file in files
    ]
    pending = [job for job in found if not _is_up_to_date(*job)]
    if not pending:
        options.progress.say("every selection has an up-to-date export; nothing to do")
    made = tuple(_planned(options, *job) for job in pending)
    for one in made:
        _write(options, one)
    return made


def _asked_for(options: ExportOptions) -> tuple[Selection, Path]:
    """Return the selection that is given, and where its export goes."""
    given = options.selection
    if given is None:
        raise SettingsError(
            "it is not said which selection is meant",
            where=Parameter("selection"),
            got="none",
            expected="a selection.json",
            hint=(
                *("add ", Parameter("selection", "FILE"), ", or leave out "),
                *(Parameter("output"), " to export every selection there is"),
            ),
        )
    if isinstance(given, str | Path):
        selection, file = load_selection(given), Path(given)
    elif isinstance(given, Selection):
        selection, file = given, _default_file(given)
    else:
        raise SettingsError(
            "this is no selection",
            where=Parameter("selection"),
            got=f"{given!r:.200}",
            expected="a Selection, or the path of a selection.json",
            hint=("make one with ", Command("select")),
        )
    if options.output is not None:
        return selection, Path(options.output)
    return selection, places.checkpoint_folder(file, options.layout)


def _default_file(selection: Selection) -> Path:
    """Return where `select` writes a selection, by its task."""
    task = selection.calibration.task
    if task.startswith("examples:"):
        slug = task.removeprefix("examples:")
    else:
        from emo_prune.tasks import parse_task  # needs numpy, which is slow

        slug = parse_task(task).slug
    return places.ROOT / slug / places.SELECTION


def _is_up_to_date(selection: Selection, destination: Path) -> bool:
    try:
        return read_record(destination).selection_sha256 == selection.sha256
    except ExportError:
        return False


def _planned(
    options: ExportAllOptions, selection: Selection, destination: Path
) -> Exported:
    """Plan an export, and check that it may be written; nothing is."""
    revision = options.revision or selection.model.revision
    if options.remote:
        name = str(options.model or selection.model.name)
        model = open_model(
            name,
            revision,
            remote=True,
            cache=None if options.cache is None else Path(options.cache),
        )
    else:
        name = str(local_folder(str(options.model or find_source(selection)), revision))
        model = open_model(name)
    plan = plan_export(
        model,
        selection,
        max_shard_bytes=parse_bytes(
            options.max_shard_size, Parameter("max_shard_size")
        ),
        layout=options.layout,
    )
    if not options.remote:
        remember(plan.record.fingerprint, name)
    check_destination(model.checkpoint.source, destination, force=options.force)
    return Exported(path=destination, plan=plan, is_written=not options.dry_run)


def _write(options: ExportAllOptions, made: Exported) -> None:
    if options.dry_run:
        return
    with options.progress.track("writing", made.num_bytes, "bytes") as advance:
        write_export(made.plan, made.path, force=options.force, progress=advance)
    say_what_was_not_kept(made.plan.model.checkpoint, options.progress)


def write_export(
    plan: ExportPlan,
    destination: Path,
    *,
    force: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write a plan into `DIR.partial`, check it, rename it to `DIR`.

    Whatever goes wrong, Ctrl-C included, the partial folder is removed and an earlier
    export stays; it is `DIR.replaced` for the moment in which the new one gets its
    name. `progress` is told the bytes of each copy. Data are left to the operating
    system to flush, as `cp` does; `verify` re-reads them.

    Raises:
        OutputExists: the destination exists (and may not be replaced).
        NotEnoughDisk: the output does not fit.
        ExportError: the folder cannot be written, or the result is not sound.
    """
    source = plan.model.checkpoint.source
    check_destination(source, destination, force=force)
    with appearing(destination, plan.num_bytes, force=force) as partial:
        for shard in plan.shards:
            create_shard(shard, partial)
            fill_shard(shard, shard.tensors, source, partial, progress)
        complete(plan, partial)


def complete(plan: ExportPlan, partial: Path) -> None:
    """Write the files beside the shards, and check that all is as planned.

    Raises:
        ExportError: what lies there is not sound.
    """
    source = plan.model.checkpoint.source
    write_files(source, plan.copied, plan.written, partial)
    describe(reopened(partial, plan.shards))
