"""`emo-prune export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from emo_prune import places
from emo_prune.cli import console, options
from emo_prune.cli.selections import read_selection
from emo_prune.errors import ExportError, SettingsError

if TYPE_CHECKING:
    from emo_prune.exports import ExportPlan
    from emo_prune.selection import Selection

Layout = Literal["source", "qwen2_moe"]


def export(
    selection: Annotated[
        Path | None,
        typer.Option(
            "--selection",
            "-s",
            envvar="EMO_PRUNE_SELECTION",
            help="A selection.json. (default: each under emo-prune-out/ that has no "
            "up-to-date export; an out-of-date one is replaced with --force)",
            rich_help_panel=options.SELECTION,
        ),
    ] = None,
    model: options.Model = None,
    revision: options.Revision = None,
    output: options.Output = None,
    layout: Annotated[
        Layout,
        typer.Option(
            "--as",
            envvar="EMO_PRUNE_AS",
            help="Layout: the source's own, or qwen2_moe, which transformers and "
            "engines load without emo-prune (EMO with one shared expert).",
            rich_help_panel=options.OUTPUT,
        ),
    ] = "source",
    max_shard_size: options.MaxShardSize = "5GB",
    remote: options.Remote = False,
    cache: options.Cache = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            help="Print exactly what would be written, and write nothing.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Write the smaller checkpoint that a selection describes.

    Bytes are copied, never decoded. The folder appears complete or not at all.

        emo-prune export

        emo-prune export --selection s.json --model ./model -o ./small --dry-run
    """
    from emo_prune.units import parse_bytes

    options.refuse_cache_alone(cache, remote=remote)
    shard_bytes = parse_bytes(max_shard_size, "--max-shard-size")
    from emo_prune.exports import check_destination
    from emo_prune.exports import export_selection as exporting

    plans = []
    for chosen, destination in _jobs(selection, output, layout):
        plan = exporting.plan_selection(
            chosen,
            model=model,
            revision=revision,
            remote=remote,
            cache=cache,
            max_shard_bytes=shard_bytes,
            layout=layout,
        )
        check_destination(plan.model.checkpoint.source, destination, force=force)
        plans.append((plan, destination))
    for plan, destination in plans if not dry_run else []:
        progress = console.ConsoleProgress()
        exporting.write_plan(plan, destination, force=force, progress=progress)
    for plan, destination in plans if not json else []:
        _print(plan, destination, dry_run=dry_run)
    if json:
        documents = [_document(*one, dry_run=dry_run) for one in plans]
        from emo_prune.files import readable_json

        exports = {"schema": "emo-prune/exports/1", "exports": documents}
        console.document(readable_json(exports))


def _jobs(
    file: Path | None, output: Path | None, layout: Layout
) -> list[tuple[Selection, Path]]:
    """Return what is to be exported, and where to."""
    if file is not None:
        return [
            (read_selection(file), output or places.checkpoint_folder(file, layout))
        ]
    if output is not None:
        raise SettingsError(
            "-o needs to know which selection is meant",
            where="--output",
            got="no --selection",
            hint="add --selection FILE, or leave out -o",
        )
    files = places.selections()
    if not files:
        raise ExportError(
            "there is no selection to export",
            where=places.ROOT,
            expected=f"{places.ROOT}/<task>/{places.SELECTION}",
            hint="run `emo-prune select --task math` first, or add --selection FILE",
        )
    found = [(read_selection(f), places.checkpoint_folder(f, layout)) for f in files]
    jobs = [job for job in found if not _up_to_date(*job)]
    if not jobs:
        console.note("every selection has an up-to-date export; nothing to do")
    return jobs


def _up_to_date(selection: Selection, destination: Path) -> bool:
    from emo_prune.exports import read_record

    try:
        return read_record(destination).selection_sha256 == selection.sha256
    except ExportError:
        return False


def _print(plan: ExportPlan, destination: Path, *, dry_run: bool) -> None:
    import shutil

    from emo_prune.units import format_bytes

    share = plan.record.num_bytes / max(plan.record.source_bytes, 1)
    weight = (
        f"{format_bytes(plan.record.num_bytes)} of weights, {share:.1%} of the source"
    )
    if not dry_run:
        console.result(f"wrote {destination}: {plan.num_tensors} tensors, {weight}")
        return
    from emo_prune.reports.terminal import plan_table

    console.table(plan_table(plan))
    there = next(p for p in destination.absolute().parents if p.exists())
    free = format_bytes(shutil.disk_usage(there).free)
    console.result(
        f"would write {destination}: {plan.num_tensors} tensors, {weight}; {free} free"
    )


def _document(plan: ExportPlan, destination: Path, *, dry_run: bool) -> dict[str, Any]:
    """Return what was written; of a dry run, every tensor as well."""
    record = plan.record
    document = {
        "path": str(destination),
        "written": not dry_run,
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
    if dry_run:
        document["tensors"] = {
            tensor.name: {
                "dtype": tensor.dtype,
                "shape": list(tensor.shape),
                "num_bytes": tensor.num_bytes,
                "shard": shard.name,
            }
            for shard in plan.shards
            for tensor in shard.tensors
        }
    return document
