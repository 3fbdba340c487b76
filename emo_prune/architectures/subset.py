"""The tensors of a pruned checkpoint, each as byte ranges of the source."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from emo_prune.architectures.layout import MoELayer, MoEModel
from emo_prune.checkpoint import DTYPE_BITS, ByteRange, OutputTensor, Tensor
from emo_prune.errors import LayoutMismatch

NOWHERE = ""  # the file of bytes that are no file's


def subset_tensors(
    model: MoEModel, kept: Mapping[int, Sequence[int]]
) -> list[OutputTensor]:
    """Return the output's tensors in the source's order and layout.

    Experts are renumbered 0..K-1 in ascending original order, router rows and stacked
    experts are cut in step, every other tensor is taken whole. Multi-token-prediction
    layers are left out: no calibration token passes them, so nothing is known of
    their experts.
    """
    pruned: dict[str, OutputTensor | None] = {t.name: None for t in model.predictors}
    for layer in model.layers:
        ids = kept[layer.layer]
        pruned.update({t.name: None for expert in layer.experts for t in expert})
        cut = (*router_tensors(layer, ids), *expert_tensors(layer, ids))
        pruned.update({tensor.name: tensor for tensor in cut})
    outputs = [
        pruned[tensor.name] if tensor.name in pruned else whole(tensor)
        for tensor in model.checkpoint.tensors.values()
    ]
    return [output for output in outputs if output is not None]


def whole(tensor: Tensor, name: str | None = None) -> OutputTensor:
    """Return a tensor taken as it is, under a new name if one is given."""
    return OutputTensor(
        name=name or tensor.name,
        dtype=tensor.dtype,
        shape=tensor.shape,
        ranges=(ByteRange(tensor.shard, tensor.start, tensor.end),),
    )


def computed(
    name: str,
    dtype: str,
    shape: tuple[int, ...],
    data: Callable[[], bytes] | None = None,
) -> OutputTensor:
    """Return a tensor whose bytes `data` returns, once it is known."""
    num_bytes = math.prod(shape) * DTYPE_BITS[dtype] // 8
    ranges = (ByteRange(NOWHERE, 0, num_bytes, data),)
    return OutputTensor(name=name, dtype=dtype, shape=shape, ranges=ranges)


def rows(tensor: Tensor, kept: Sequence[int]) -> OutputTensor:
    """Return a tensor cut to the kept indices of its first axis.

    Raises:
        LayoutMismatch: one index is not a whole number of bytes.
    """
    row_bytes, remainder = divmod(tensor.num_bytes, tensor.shape[0])
    if remainder:
        raise LayoutMismatch(
            "an expert's part of a tensor is not a whole number of bytes",
            where=tensor.name,
            got=f"{tensor.num_bytes} bytes for {tensor.shape[0]} experts",
            hint="export the unquantised checkpoint and quantise the export",
        )
    starts = [tensor.start + index * row_bytes for index in kept]
    return OutputTensor(
        name=tensor.name,
        dtype=tensor.dtype,
        shape=(len(kept), *tensor.shape[1:]),
        ranges=tuple(ByteRange(tensor.shard, at, at + row_bytes) for at in starts),
    )


def router_tensors(layer: MoELayer, kept: Sequence[int]) -> list[OutputTensor]:
    """Return a layer's router cut to the kept experts."""
    return [rows(tensor, kept) for tensor in layer.router]


def expert_tensors(layer: MoELayer, kept: Sequence[int]) -> list[OutputTensor]:
    """Return the kept experts of a layer, numbered 0..K-1 in the given order."""
    outputs = [rows(tensor, kept) for tensor in layer.stacked]
    for new, old in enumerate(kept):
        for tensor in layer.experts[old] if layer.experts else ():
            name = tensor.name.replace(f".experts.{old}.", f".experts.{new}.", 1)
            outputs.append(whole(tensor, name))
    return outputs
