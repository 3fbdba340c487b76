"""Put a carved checkpoint together: the dense one again, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from emo_prune.architectures.subset import computed, whole
from emo_prune.carving.carved import CarvedModel, Joint
from emo_prune.carving.cut import as_array, joined
from emo_prune.carving.dense import describe_dense
from emo_prune.carving.plan import copied_tensors
from emo_prune.carving.record import CARVED, CARVING
from emo_prune.checkpoint import (
    Checkpoint,
    OutputTensor,
    create_shard,
    fill_shards,
    read_object,
)
from emo_prune.exports import RECORD, check_destination
from emo_prune.exports.plan import (
    DEFAULT_SHARD_BYTES,
    SOURCE_CARD,
    OutputPlan,
    config_text,
    in_shards,
    index_of,
    other_files,
)
from emo_prune.exports.publishing import appearing, reopened, write_files
from emo_prune.exports.record import SCHEMA as EXPORT_SCHEMA

_CARD = "README.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan(OutputPlan):
    """What putting a carved model together will write."""

    model: CarvedModel

    @property
    def num_bytes(self) -> int:
        """Bytes on disk, but for a few texts."""
        return self.disk_bytes(self.model.checkpoint.source)


def plan_restoring(
    model: CarvedModel, *, max_shard_bytes: int = DEFAULT_SHARD_BYTES
) -> RestorePlan:
    """Plan to put a carved model together; reads and writes nothing."""
    joints = {joint.tensor.name for joint in model.joints}
    tensors = [
        computed(tensor.name, tensor.dtype, tensor.shape)
        if tensor.name in joints
        else whole(tensor)
        for tensor in model.dense.checkpoint.tensors.values()
    ]
    return RestorePlan(
        model=model,
        shards=in_shards(tensors, max_shard_bytes),
        copied=_copied(model.checkpoint),
    )


def restore_dense(
    plan: RestorePlan,
    destination: Path,
    *,
    force: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Join the experts and write the dense model, one tensor after the other.

    In memory are a few copies of the one at hand: its pieces, and those joined, put in
    order and written. The folder appears complete or not at all. `progress` is told
    the bytes of each copy. `force` replaces a carved checkpoint, and nothing else.

    Raises:
        OutputExists: the destination exists (and may not be replaced).
        NotEnoughDisk, ExportError: the folder cannot be written.
    """
    checkpoint = plan.model.checkpoint
    source = checkpoint.source
    check_destination(source, destination, force=force, kind=CARVED)
    texts = {
        "config.json": config_text(plan.model.dense.config),
        **index_of(plan.shards),
    }
    with appearing(destination, plan.num_bytes, force=force, kind=CARVED) as folder:
        for shard in plan.shards:
            create_shard(shard, folder)
        for joint in plan.model.joints:
            tensor = [_joined(checkpoint, joint)]
            fill_shards(plan.shards, tensor, source, folder, progress)
        rest = copied_tensors(plan.shards)
        fill_shards(plan.shards, rest, source, folder, progress)
        write_files(source, plan.copied, texts, folder)
        describe_dense(reopened(folder, plan.shards))


def _joined(checkpoint: Checkpoint, joint: Joint) -> OutputTensor:
    pieces = [
        as_array(checkpoint.read(tensor), tensor.dtype, tensor.shape)
        for tensor in joint.pieces
    ]
    data = partial(joined, pieces, joint.neurons, joint.axis)
    tensor = joint.tensor
    return computed(tensor.name, tensor.dtype, tensor.shape, data)


def _copied(checkpoint: Checkpoint) -> dict[str, str]:
    """Return the files that were the dense model's, each with the name it had."""
    ours = ["config.json", CARVING, _CARD]
    if _is_export(checkpoint):
        ours.append(RECORD)
    copied, _ = other_files(checkpoint, ours)
    if SOURCE_CARD in copied:
        name = _name_of_card(checkpoint)
        copied = {file: file for file in copied if file != SOURCE_CARD}
        copied |= {} if name is None else {SOURCE_CARD: name}
    return copied


def _name_of_card(checkpoint: Checkpoint) -> str | None:
    """Return the name that README.source.md had in the dense model's folder.

    None if it was not there: then a later export has made it of the carved one's card.
    """
    had = (read_object(checkpoint.source, CARVING) or {}).get("copied")
    names = had if isinstance(had, dict) else {}
    return next(
        (name for name in (_CARD, SOURCE_CARD) if names.get(name) == SOURCE_CARD), None
    )


def _is_export(checkpoint: Checkpoint) -> bool:
    record = read_object(checkpoint.source, RECORD) or {}
    return record.get("schema") == EXPORT_SCHEMA
