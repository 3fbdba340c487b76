"""From a dense checkpoint to one with experts, and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from emo_prune.architectures.opening import say_what_was_not_kept
from emo_prune.carving import (
    CarvePlan,
    CarveSettings,
    CarvingRecord,
    RestorePlan,
    carve,
    describe_carved,
    describe_dense,
    plan_carving,
    plan_restoring,
    restore_dense,
)
from emo_prune.carving.record import CARVED
from emo_prune.checkpoint import (
    Checkpoint,
    local_folder,
    open_checkpoint,
    open_remote,
    remember,
    support_folder,
)
from emo_prune.exports import check_destination
from emo_prune.exports.plan import DEFAULT_SHARD_BYTES
from emo_prune.exports.publishing import appearing
from emo_prune.progress import Progress, Silent

if TYPE_CHECKING:
    from emo_prune.carving.measuring import Measuring


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """Which carved model to put together, and where to.

    model: a folder or a Hub id. remote: read a Hub id by byte ranges, which the folder
    `cache` keeps. force: replace an earlier carving.
    """

    model: str
    destination: Path
    revision: str | None = None
    remote: bool = False
    cache: Path | None = None
    max_shard_bytes: int = DEFAULT_SHARD_BYTES
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CarveRequest(RestoreRequest):
    """Which dense model to carve, how, and where to.

    measuring: on which examples to measure how modular it is; None does not.
    """

    settings: CarveSettings = field(default_factory=CarveSettings)
    measuring: Measuring | None = None


def carve_model(
    request: CarveRequest, progress: Progress | None = None
) -> CarvingRecord:
    """Carve a dense model into experts; nothing is written before all is checked.

    If it is to be measured, it appears with that done, or not at all.

    Raises:
        CarvingError, SettingsError: the model cannot be carved so.
        OutputExists, ExportError: the output exists, or cannot be written.
        EmoPruneError: model or examples cannot be used.
    """
    progress = progress or Silent()
    # Headers first: what cannot be carved must not cost a download.
    seen = _opened(request)
    _plan(seen, request)
    _check_destination(seen, request)
    checkpoint, folder = _at_hand(seen, request)
    plan = _plan(checkpoint, request)
    calibrated = None
    if request.measuring is not None:
        calibrated = request.measuring.tokens(plan, folder, progress)
    with appearing(
        request.destination, plan.num_bytes, force=request.force, kind=CARVED
    ) as written:
        with progress.track("carving", plan.shard_bytes, "bytes") as advance:
            record = carve(plan, written, advance)
        if request.measuring is not None and calibrated is not None:
            from emo_prune.carving.measuring import measure_carving

            record = measure_carving(
                written, record, request.measuring, calibrated, progress
            )
    _remember(record, folder, request)
    say_what_was_not_kept(checkpoint, progress)
    return record


def restore_model(
    request: RestoreRequest, progress: Progress | None = None
) -> RestorePlan:
    """Put a carved model together; nothing is written before all is checked.

    Raises:
        CarvingError: it is not carved, or experts are missing.
        OutputExists, ExportError: the output exists, or cannot be written.
        EmoPruneError: the model cannot be used.
    """
    progress = progress or Silent()
    seen = _opened(request)
    _check_destination(seen, request)
    model = describe_carved(seen)
    checkpoint, _ = _at_hand(seen, request)
    if checkpoint is not seen:
        model = describe_carved(checkpoint)
    plan = plan_restoring(model, max_shard_bytes=request.max_shard_bytes)
    with progress.track("joining", plan.shard_bytes, "bytes") as advance:
        restore_dense(plan, request.destination, force=request.force, progress=advance)
    say_what_was_not_kept(checkpoint, progress)
    return plan


def _opened(request: RestoreRequest) -> Checkpoint:
    if request.remote:
        return open_remote(request.model, request.revision, request.cache)
    return open_checkpoint(request.model, request.revision)


def _plan(checkpoint: Checkpoint, request: CarveRequest) -> CarvePlan:
    return plan_carving(
        describe_dense(checkpoint),
        request.settings,
        max_shard_bytes=request.max_shard_bytes,
    )


def _check_destination(checkpoint: Checkpoint, request: RestoreRequest) -> None:
    check_destination(
        checkpoint.source,
        request.destination,
        force=request.force,
        kind=CARVED,
    )


def _at_hand(
    checkpoint: Checkpoint, request: RestoreRequest
) -> tuple[Checkpoint, Path]:
    """Return a checkpoint whose bytes can be read, and where its tokenizer is."""
    if request.remote:
        return checkpoint, support_folder(checkpoint.name, checkpoint.revision)
    folder = local_folder(request.model, checkpoint.revision)
    return open_checkpoint(str(folder)), folder


def _remember(record: CarvingRecord, folder: Path, request: CarveRequest) -> None:
    if not request.remote:
        remember(str(record.model["fingerprint"]), str(folder))
