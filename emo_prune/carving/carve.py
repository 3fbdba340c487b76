"""Carve: one layer at a time, so that memory does not grow with the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import emo_prune
from emo_prune.architectures import dense_fingerprint, describe
from emo_prune.architectures.feed_forward import NEURONS, is_parameter
from emo_prune.architectures.subset import computed
from emo_prune.carving.card import carving_card
from emo_prune.carving.clustering import Keys, assign, tightness, unit_keys
from emo_prune.carving.cut import (
    Raw,
    as_array,
    as_numbers,
    neurons_of,
    piece,
    piece_shape,
)
from emo_prune.carving.dense import DenseLayer
from emo_prune.carving.flops import carved_flops, dense_flops
from emo_prune.carving.plan import CarvePlan, copied_tensors, expert_name
from emo_prune.carving.record import CARVING, CarvedLayer, CarvingRecord
from emo_prune.checkpoint import OutputTensor, create_shard, fill_shards
from emo_prune.errors import CarvingError
from emo_prune.exports.plan import SOURCE_CARD, config_text, index_of
from emo_prune.exports.publishing import reopened, write_files
from emo_prune.files import readable_json, versions

Write = Callable[[Sequence[OutputTensor]], None]


def carve(
    plan: CarvePlan, folder: Path, progress: Callable[[int], None] = lambda _: None
) -> CarvingRecord:
    """Cluster each layer's neurons and write the experts; return the record of it.

    The folder is there and empty. `progress` is told the bytes of each copy.

    Raises:
        CarvingError: a layer's weights are not finite.
        OSError: the folder cannot be written.
    """
    source = plan.model.checkpoint.source

    def write(tensors: Sequence[OutputTensor]) -> None:
        fill_shards(plan.shards, tensors, source, folder, progress)

    for shard in plan.shards:
        create_shard(shard, folder)
    layers = [_carve_layer(plan, layer, write) for layer in plan.layers]
    write(copied_tensors(plan.shards))
    record = _record(plan, layers)
    write_files(source, plan.copied, _texts(plan, record), folder)
    describe(reopened(folder, plan.shards))
    return record


def _carve_layer(plan: CarvePlan, layer: DenseLayer, write: Write) -> CarvedLayer:
    """Cluster the neurons of a layer and write its experts, one matrix at a time."""
    keys = f"{plan.model.feed_forward.keys}.weight"
    raw = _read(plan, layer, keys)
    neurons, tight = _cluster(plan, layer, raw)
    write(
        [
            computed(
                expert_name(layer, expert, NEURONS),
                "I32",
                ids.shape,
                ids.tobytes,
            )
            for expert, ids in enumerate(neurons)
        ]
    )
    # The keys first, which are at hand: a remote checkpoint is read but once.
    write(_pieces(plan, layer, keys, raw, neurons))
    del raw
    for part in layer.parts:
        if part != keys and plan.model.feed_forward.axis(part) is not None:
            write(_pieces(plan, layer, part, _read(plan, layer, part), neurons))
    return CarvedLayer(
        layer=layer.layer,
        tightness=tight,
        dense_flops=dense_flops(plan.model),
        flops=carved_flops(plan.model, plan.settings),
    )


def _read(plan: CarvePlan, layer: DenseLayer, part: str) -> Raw:
    tensor = layer.parts[part]
    return as_array(plan.model.checkpoint.read(tensor), tensor.dtype, tensor.shape)


def _cluster(
    plan: CarvePlan, layer: DenseLayer, raw: Raw
) -> tuple[NDArray[np.int32], float]:
    """Return each expert's neurons [experts, size], and how alike their keys are."""
    settings, number = plan.settings, plan.settings.num_experts
    units = _unit_keys(plan, layer, raw)
    labels = assign(units, number, settings.method, [settings.seed, layer.layer])
    return neurons_of(labels, number), tightness(units, labels, number)


def _unit_keys(plan: CarvePlan, layer: DenseLayer, raw: Raw) -> Keys:
    """Return the keys of a layer, scaled to length 1."""
    feed_forward = plan.model.feed_forward
    tensor = layer.parts[f"{feed_forward.keys}.weight"]
    keys = as_numbers(raw.T if feed_forward.input_first else raw, tensor.dtype)
    if not np.isfinite(keys).all():
        raise CarvingError(
            "the keys of a layer are not finite numbers",
            where=tensor.name,
            got="NaN or infinity",
            hint="the checkpoint is damaged; leave the layer out with --layers",
        )
    return unit_keys(keys)


def _pieces(
    plan: CarvePlan,
    layer: DenseLayer,
    part: str,
    raw: Raw,
    neurons: NDArray[np.int32],
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
    checkpoint, settings = plan.model.checkpoint, plan.settings
    written = [tensor for shard in plan.shards for tensor in shard.tensors]
    return CarvingRecord(
        model={
            "name": checkpoint.name,
            "revision": checkpoint.revision,
            "fingerprint": dense_fingerprint(checkpoint),
            "model_type": plan.model.feed_forward.model_type,
        },
        num_experts=settings.num_experts,
        expert_size=plan.expert_size,
        top_k=settings.top_k,
        method=settings.method,
        gate_source=settings.gate_source,
        seed=settings.seed,
        num_layers=plan.model.num_layers,
        num_parameters=sum(
            math.prod(tensor.shape) for tensor in written if is_parameter(tensor.name)
        ),
        dense_num_parameters=sum(
            tensor.num_parameters
            for tensor in checkpoint.tensors.values()
            if is_parameter(tensor.name)
        ),
        layers=layers,
        copied=plan.copied,
        left_out=plan.left_out,
        versions={"emo_prune": emo_prune.__version__, **versions("numpy")},
    )


def _texts(plan: CarvePlan, record: CarvingRecord) -> dict[str, str]:
    """Return the text files that are new."""
    has_source_card = SOURCE_CARD in plan.copied.values()
    return {
        "config.json": config_text(plan.config),
        CARVING: readable_json(record.to_json()),
        "README.md": carving_card(record, has_source_card=has_source_card),
        **index_of(plan.shards),
    }
