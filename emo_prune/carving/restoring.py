"""`restore` puts a carved checkpoint together: the dense one again, bit for bit."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from emo_prune import places
from emo_prune.architectures.opening import say_what_was_not_kept
from emo_prune.architectures.subset import computed, whole
from emo_prune.carving.dense import at_hand, describe_dense, open_headers
from emo_prune.carving.document import Restored
from emo_prune.carving.pieces import (
    CarvedModel,
    CutTensor,
    as_array,
    describe_carved,
    joined,
)
from emo_prune.carving.plan import CARVED, copied_tensors
from emo_prune.checkpoint import (
    Checkpoint,
    OutputTensor,
    create_shard,
    fill_shards,
    read_object,
)
from emo_prune.exports import ExportRecord, check_destination
from emo_prune.exports.plan import (
    SOURCE_CARD,
    OutputPlan,
    config_text,
    in_shards,
    index_of,
    other_files,
)
from emo_prune.exports.publishing import appearing, reopened, write_files
from emo_prune.options import RestoreOptions, needed_model, verb
from emo_prune.progress import Advance
from emo_prune.units import parse_bytes

_CARD = "README.md"


@verb(RestoreOptions)
def restore(options: RestoreOptions) -> Restored:
    """Put a carved model together and write the dense one, one tensor at a time.

    In memory are a few copies of the tensor at hand: its pieces, and those joined, put
    in order and written. The folder appears complete or not at all; `force` replaces a
    carved checkpoint, and nothing else.

    Raises:
        SettingsError: it is not said what to restore.
        CarvingError: the model is not carved, or experts are missing.
        OutputExists, ExportError: the output exists, or cannot be written.
        EmoPruneError: the model cannot be used.
    """
    model = needed_model(options.model, options.verb)
    output = Path(options.output or places.carving_folder(model, "dense"))
    seen = open_headers(model, options)
    check_destination(seen.source, output, force=options.force, kind=CARVED)
    carved = describe_carved(seen)
    checkpoint, _ = at_hand(seen, model, options)
    if checkpoint is not seen:
        carved = describe_carved(checkpoint)
    plan = _plan(carved, parse_bytes(options.max_shard_size))
    num_bytes = plan.disk_bytes(checkpoint.source)
    with (
        options.progress.track("joining", plan.shard_bytes, "bytes") as advance,
        appearing(output, num_bytes, force=options.force, kind=CARVED) as folder,
    ):
        _write(carved, plan, folder, advance)
    say_what_was_not_kept(checkpoint, options.progress)
    return Restored(
        path=str(output),
        model_type=carved.dense.feed_forward.model_type,
        num_tensors=plan.num_tensors,
        shards={shard.name: shard.num_bytes for shard in plan.shards},
    )


def _plan(carved: CarvedModel, max_shard_bytes: int) -> OutputPlan:
    cut = {one.tensor.name for one in carved.cut}
    tensors = [
        computed(tensor.name, tensor.dtype, tensor.shape)
        if tensor.name in cut
        else whole(tensor)
        for tensor in carved.dense.checkpoint.tensors.values()
    ]
    return OutputPlan(
        shards=in_shards(tensors, max_shard_bytes), copied=_copied(carved.checkpoint)
    )


def _write(
    carved: CarvedModel, plan: OutputPlan, folder: Path, advance: Advance
) -> None:
    checkpoint = carved.checkpoint
    source = checkpoint.source
    for shard in plan.shards:
        create_shard(shard, folder)
    for one in carved.cut:
        fill_shards(plan.shards, [_joined(checkpoint, one)], source, folder, advance)
    fill_shards(plan.shards, copied_tensors(plan.shards), source, folder, advance)
    texts = {places.CONFIG: config_text(carved.dense.config), **index_of(plan.shards)}
    write_files(source, plan.copied, texts, folder)
    describe_dense(reopened(folder, plan.shards))


def _joined(checkpoint: Checkpoint, one: CutTensor) -> OutputTensor:
    pieces = [
        as_array(checkpoint.read(tensor), tensor.dtype, tensor.shape)
        for tensor in one.pieces
    ]
    data = partial(joined, pieces, one.neurons, one.axis)
    return computed(one.tensor.name, one.tensor.dtype, one.tensor.shape, data)


def _copied(checkpoint: Checkpoint) -> dict[str, str]:
    """Return the files that were the dense model's, each with the name it had."""
    ours = [places.CONFIG, places.CARVING, _CARD]
    if _is_export(checkpoint):
        ours.append(places.RECORD)
    copied, _ = other_files(checkpoint, ours)
    if SOURCE_CARD in copied:
        name = _name_of_card(checkpoint)
        copied = {file: file for file in copied if file != SOURCE_CARD}
        copied |= {} if name is None else {SOURCE_CARD: name}
    return copied


def _name_of_card(checkpoint: Checkpoint) -> str | None:
    """Return the name that README.source.md had in the dense model's folder.

    None if it was not there: then a later export has made it of the carved one's card.
    Of carving.json nothing else is asked, and a strange answer is no name.
    """
    had = (read_object(checkpoint.source, places.CARVING) or {}).get("copied")
    names = had if isinstance(had, dict) else {}
    return next(
        (name for name in (_CARD, SOURCE_CARD) if names.get(name) == SOURCE_CARD), None
    )


def _is_export(checkpoint: Checkpoint) -> bool:
    record = read_object(checkpoint.source, places.RECORD) or {}
    return record.get("schema") == ExportRecord.schema
