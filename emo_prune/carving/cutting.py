"""`carve` makes experts of a dense model's neurons, one layer in memory at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_prune import places
from emo_prune.architectures import dense_fingerprint, describe
from emo_prune.architectures.feed_forward import NEURONS, is_parameter
from emo_prune.architectures.opening import say_what_was_not_kept
from emo_prune.architectures.subset import computed
from emo_prune.carving.clustering import STARTS, Told, assign, tightness, unit_keys
from emo_prune.carving.dense import (
    DenseLayer,
    at_hand,
    describe_dense,
    open_headers,
)
from emo_prune.carving.document import (
    CarvedLayer,
    CarvingRecord,
    DenseSource,
    carving_card,
)
from emo_prune.carving.measuring import (
    measured_carving,
    task_to_measure_on,
    tokens_of,
)
from emo_prune.carving.pieces import (
    Neurons,
    Raw,
    as_array,
    as_numbers,
    expert_name,
    neurons_of,
    piece,
    piece_shape,
)
from emo_prune.carving.plan import CARVED, CarvePlan, copied_tensors, plan_carving
from emo_prune.checkpoint import OutputTensor, create_shard, fill_shards, remember
from emo_prune.errors import CarvingError, Parameter
from emo_prune.exports import check_destination
from emo_prune.exports.plan import SOURCE_CARD, config_text, index_of
from emo_prune.exports.publishing import appearing, reopened, write_files
from emo_prune.facts import CARVING as VERSIONS
from emo_prune.files import versions
from emo_prune.options import CarveOptions, needed_model, verb
from emo_prune.progress import Advance, Progress

Write = Callable[[Sequence[OutputTensor]], None]

_SILENCE = 8.0  # seconds; more than ten without a word seem like a hang


@verb(CarveOptions)
def carve(options: CarveOptions) -> CarvingRecord:
    """Carve a dense model's feed-forward layers into experts (EMoE), and write that.

    Weights change their place and nothing else: none is added, and with all experts
    picked it is the dense model. With `task` or `examples` it is measured how much of
    the activations the picked experts hold. The folder appears with all that, or not at
    all.

    Source: arXiv 2310.10908.

    Raises:
        CarvingError, SettingsError: the model cannot be carved so.
        OutputExists, ExportError: the output exists, or cannot be written.
        EmoPruneError: model or examples cannot be used.
    """
    task = task_to_measure_on(options)
    model = needed_model(options.model, options.verb)
    output = Path(options.output or places.carving_folder(model, "emoe"))
    # Headers first: what cannot be carved must not cost a download.
    seen = open_headers(model, options)
    plan = plan_carving(describe_dense(seen), options)
    check_destination(seen.source, output, force=options.force, kind=CARVED)
    checkpoint, folder = at_hand(seen, model, options)
    if checkpoint is not seen:
        plan = plan_carving(describe_dense(checkpoint), options)
    calibrated = None if task is None else tokens_of(task, plan, folder)
    progress = options.progress
    with appearing(output, plan.num_bytes, force=options.force, kind=CARVED) as written:
        with progress.track("carving", plan.shard_bytes, "bytes") as advance:
            record = _write(plan, written, advance)
        if calibrated is not None:
            record = measured_carving(written, record, options, calibrated)
    if not options.remote:
        remember(record.model.fingerprint, str(folder))
    say_what_was_not_kept(checkpoint, progress)
    progress.say(f"wrote {output}")
    return record


def _write(plan: CarvePlan, folder: Path, advance: Advance) -> CarvingRecord:
    """Cluster each layer's neurons and write the experts; return the record of it.

    The folder is there and empty. `advance` is told the bytes of each copy.
    """
    source = plan.model.checkpoint.source

    def write(tensors: Sequence[OutputTensor]) -> None:
        fill_shards(plan.shards, tensors, source, folder, advance)

    for shard in plan.shards:
        create_shard(shard, folder)
    rounds = _Rounds(plan.options.progress)
    layers = [_carve_layer(plan, layer, write, rounds) for layer in plan.layers]
    write(copied_tensors(plan.shards))
    record = _record(plan, layers)
    texts = {
        places.CONFIG: config_text(plan.config),
        places.CARVING: record.to_text(),
        "README.md": carving_card(
            record, has_source_card=SOURCE_CARD in plan.copied.values()
        ),
        **index_of(plan.shards),
    }
    write_files(source, plan.copied, texts, folder)
    describe(reopened(folder, plan.shards))  # what readers check, before it has a name
    return record


class _Rounds:
    """Tells how far a clustering is: of a large layer it takes minutes."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._told = time.monotonic()

    def of(self, layer: int) -> Told:
        def told(start: int, number: int) -> None:
            if time.monotonic() - self._told > _SILENCE:
                self._progress.say(
                    f"grouping the neurons of layer {layer}: start {start} of "
                    f"{STARTS}, round {number}"
                )
                self._told = time.monotonic()

        return told


def _carve_layer(
    plan: CarvePlan, layer: DenseLayer, write: Write, rounds: _Rounds
) -> CarvedLayer:
    """Cluster the neurons of a layer and write its experts, one matrix at a time."""
    options, feed_forward = plan.options, plan.model.feed_forward
    keys = f"{feed_forward.keys}.weight"
    raw = _read(plan, layer, keys)
    units = unit_keys(_finite_keys(plan, layer, raw))
    # Each layer draws from its own seed, whichever others are carved.
    seed = [options.seed, layer.layer]
    told = rounds.of(layer.layer)
    labels = assign(units, options.num_experts, options.method, seed, told=told)
    neurons = neurons_of(labels, options.num_experts)
    tight = tightness(units, labels, options.num_experts)
    write(
        [
            computed(expert_name(layer, expert, NEURONS), "I32", ids.shape, ids.tobytes)
            for expert, ids in enumerate(neurons)
        ]
    )
    # The keys first, which are at hand: a remote checkpoint is read but once.
    write(_pieces(plan, layer, keys, raw, neurons))
    del raw, units
    for part in layer.parts:
        if part != keys and feed_forward.axis(part) is not None:
            write(_pieces(plan, layer, part, _read(plan, layer, part), neurons))
    return CarvedLayer(
        layer=layer.layer,
        tightness=tight,
        ffn_flops_per_token=plan.carved_flops,
        dense_ffn_flops_per_token=plan.dense_flops,
    )


def _read(plan: CarvePlan, layer: DenseLayer, part: str) -> Raw:
    tensor = layer.parts[part]
    return as_array(plan.model.checkpoint.read(tensor), tensor.dtype, tensor.shape)


def _finite_keys(plan: CarvePlan, layer: DenseLayer, raw: Raw) -> NDArray[np.floating]:
    """Return the keys of a layer [neurons, hidden] as numbers."""
    feed_forward = plan.model.feed_forward
    tensor = layer.parts[f"{feed_forward.keys}.weight"]
    keys = as_numbers(raw.T if feed_forward.input_first else raw, tensor.dtype)
    if not np.isfinite(keys).all():
        raise CarvingError(
            "the keys of a layer are not finite numbers",
            where=tensor.name,
            got="NaN or infinity",
            hint=(
                "the checkpoint is damaged; leave the layer out with ",
                Parameter("layers"),
            ),
        )
    return keys


def _pieces(
    plan: CarvePlan, layer: DenseLayer, part: str, raw: Raw, neurons: Neurons
) -> list[OutputTensor]:
    """Return each expert's piece of a tensor."""
    tensor = layer.parts[part]
    axis = plan.model.feed_forward.axis(part) or 0
    shape = piece_shape(tensor, axis, plan.expert_size)
    return [
        computed(
            expert_name(layer, expert, part),
            tensor.dtype,
            shape,
            partial(piece, raw, ids, axis),
        )
        for expert, ids in enumerate(neurons)
    ]


def _record(plan: CarvePlan, layers: Sequence[CarvedLayer]) -> CarvingRecord:
    checkpoint, options = plan.model.checkpoint, plan.options
    written = [tensor for shard in plan.shards for tensor in shard.tensors]
    dense_flops = plan.model.num_layers * plan.dense_flops  # layers are alike
    saved = len(layers) * (plan.dense_flops - plan.carved_flops)
    return CarvingRecord(
        model=DenseSource(
            name=checkpoint.name,
            revision=checkpoint.revision,
            fingerprint=dense_fingerprint(checkpoint),
            model_type=plan.model.feed_forward.model_type,
        ),
        num_experts=options.num_experts,
        expert_size=plan.expert_size,
        num_experts_per_tok=plan.top_k,
        method=options.method,
        gate_source=options.gate,
        seed=options.seed,
        num_layers=plan.model.num_layers,
        num_parameters=sum(
            math.prod(tensor.shape) for tensor in written if is_parameter(tensor.name)
        ),
        dense_num_parameters=sum(
            tensor.num_parameters
            for tensor in checkpoint.tensors.values()
            if is_parameter(tensor.name)
        ),
        ffn_flops_per_token=dense_flops - saved,
        dense_ffn_flops_per_token=dense_flops,
        layers=tuple(layers),
        copied=plan.copied,
        left_out=tuple(plan.left_out),
        versions=versions(*VERSIONS),
        measured=None,
    )
