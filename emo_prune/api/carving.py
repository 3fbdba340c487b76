"""From a dense checkpoint to one with experts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from emo_prune.api.watcher import Watcher
from emo_prune.carving import (
    CARVING,
    CarveSettings,
    CarvingRecord,
    carve,
    describe_dense,
    plan_carving,
)
from emo_prune.carving.record import SCHEMA
from emo_prune.checkpoint import (
    Checkpoint,
    local_folder,
    open_checkpoint,
    open_remote,
    remember,
)
from emo_prune.export import check_destination
from emo_prune.export.plan import DEFAULT_SHARD_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class CarveRequest:
    """Which model to carve, how, and where to.

    model: a folder or a Hub id. remote: read a Hub id by byte ranges, which the folder
    `cache` keeps. force: replace an earlier carving.
    """

    model: str
    destination: Path
    settings: CarveSettings = field(default_factory=CarveSettings)
    revision: str | None = None
    remote: bool = False
    cache: Path | None = None
    max_shard_bytes: int = DEFAULT_SHARD_BYTES
    force: bool = False


def carve_model(request: CarveRequest, watcher: Watcher | None = None) -> CarvingRecord:
    """Carve a dense model into experts; nothing is written before all is checked.

    Raises:
        CarvingError, SettingsError: the model cannot be carved so.
        OutputExists, ExportError: the output exists, or cannot be written.
        EmoPruneError: the model cannot be used.
    """
    watcher = watcher or Watcher()
    # Headers first: what cannot be carved must not cost a download.
    seen = _opened(request)
    plan_carving(describe_dense(seen), request.settings)
    check_destination(
        seen.source,
        request.destination,
        force=request.force,
        schema=SCHEMA,
        record=CARVING,
    )
    if not request.remote:
        folder = local_folder(request.model, seen.revision)
        seen = open_checkpoint(str(folder))
    plan = plan_carving(
        describe_dense(seen),
        request.settings,
        max_shard_bytes=request.max_shard_bytes,
    )
    total = sum(shard.num_bytes for shard in plan.shards)
    with watcher.track("carving", total, "bytes") as advance:
        record = carve(plan, request.destination, force=request.force, progress=advance)
    if not request.remote:
        remember(str(record.model["fingerprint"]), str(folder))
    return record


def _opened(request: CarveRequest) -> Checkpoint:
    if request.remote:
        return open_remote(request.model, request.revision, request.cache)
    return open_checkpoint(request.model, request.revision)
