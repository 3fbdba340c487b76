"""From a selection to a checkpoint on disk, and the proof that it is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from emo_prune.architectures import fingerprint
from emo_prune.architectures.opening import (
    open_local,
    open_model,
    say_what_was_not_kept,
)
from emo_prune.checkpoint import local_folder, locate, remember
from emo_prune.errors import (
    ArchitectureError,
    CheckpointError,
    FingerprintMismatch,
    VerificationFailed,
)
from emo_prune.exports import (
    ExportPlan,
    VerificationReport,
    export,
    plan_export,
    read_record,
    verify_export,
)
from emo_prune.exports.plan import DEFAULT_SHARD_BYTES
from emo_prune.exports.record import Layout
from emo_prune.progress import Progress, Silent
from emo_prune.selection import Selection


def plan_selection(
    selection: Selection,
    *,
    model: str | None = None,
    revision: str | None = None,
    remote: bool = False,
    cache: Path | None = None,
    max_shard_bytes: int = DEFAULT_SHARD_BYTES,
    layout: Layout = "source",
) -> ExportPlan:
    """Plan an export; without `model`, from where the selection's was last seen.

    `remote` reads the model on the Hub, by byte ranges that `cache` keeps.

    Raises:
        FingerprintMismatch: the model is not the one the selection was made for.
        EmoPruneError: the model or selection cannot be used.
    """
    revision = revision or selection.model.revision
    if remote:
        name = model or selection.model.name
        opened = open_model(name, revision, remote=True, cache=cache)
    else:
        name = str(local_folder(model or find_source(selection), revision))
        opened = open_model(name)
    planned = plan_export(
        opened, selection, max_shard_bytes=max_shard_bytes, layout=layout
    )
    if not remote:
        remember(planned.record.fingerprint, name)
    return planned


def write_plan(
    planned: ExportPlan,
    destination: Path,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> None:
    """Carry out a plan.

    Raises:
        ExportError: the output exists, does not fit, or cannot be written.
    """
    progress = progress or Silent()
    with progress.track("writing", planned.record.num_bytes, "bytes") as advance:
        export(planned, destination, force=force, progress=advance)
    say_what_was_not_kept(planned.model.checkpoint, progress)


def verify_folder(
    folder: Path,
    *,
    source: str | None = None,
    revision: str | None = None,
    progress: Progress | None = None,
) -> VerificationReport:
    """Compare an export with its source, byte against byte.

    Raises:
        VerificationFailed: they differ; says where first.
        EmoPruneError: export or source cannot be used.
    """
    record = read_record(folder)
    opened, _ = open_local(source or find_source(record.selection), revision)
    progress = progress or Silent()
    with progress.track("comparing", record.num_bytes, "bytes") as advance:
        return _failures_named(lambda: verify_export(folder, opened, advance))


def _failures_named(check: Callable[[], VerificationReport]) -> VerificationReport:
    """Call a check; an export that cannot even be read has failed it as well."""
    try:
        return check()
    except FingerprintMismatch:
        raise
    except CheckpointError as error:
        raise VerificationFailed(
            f"the export is not sound: {error.what}",
            where=error.where,
            got=error.got,
            expected=error.expected,
            hint="do not use this export; run export again",
        ) from None


def find_source(selection: Selection) -> str:
    """Return where the checkpoint a selection was made for can be found.

    Looked up by fingerprint among the checkpoints this machine has seen; else the
    Hub id and revision that the selection names, which are downloaded.

    Raises:
        CheckpointError: it is nowhere to be found.
    """
    name, wanted = selection.model.name, selection.model.fingerprint
    known = locate(wanted)
    if known is not None and Path(known).is_dir() and _is(known, wanted):
        return known
    if "/" in name:
        return str(local_folder(name, selection.model.revision))
    raise CheckpointError(
        "the checkpoint that the selection was made for is not found",
        where=name,
        got="no path",
        expected=f"a checkpoint with fingerprint {wanted}",
        hint="give its folder: --model (export), --source (verify), --baseline (eval)",
    )


def _is(path: str, wanted: str) -> bool:
    try:
        return fingerprint(open_model(path)) == wanted
    except (CheckpointError, ArchitectureError):
        return False
