"""A dense checkpoint whose feed-forward layers have been found and checked."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_prune.architectures import ARCHITECTURES
from emo_prune.architectures.config import positive, quantization_key
from emo_prune.architectures.feed_forward import (
    FEED_FORWARDS,
    FeedForward,
    feed_forward_size,
)
from emo_prune.checkpoint import (
    FLOATS,
    Checkpoint,
    Tensor,
    local_folder,
    open_checkpoint,
    open_remote,
    support_folder,
)
from emo_prune.errors import (
    CarvingError,
    Command,
    LayoutMismatch,
    UnsupportedArchitecture,
)
from emo_prune.options import RemoteOptions

NUMBER = r"(?:0|[1-9][0-9]{0,5})"  # one spelling each, and none too long to be read


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseLayer:
    """One layer's FFN: `parts` maps "up_proj.weight" and the like to tensors.

    `stem` is what stands before that in the tensors' names: "model.layers.3.mlp.".
    """

    layer: int
    stem: str
    parts: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseModel:
    """A checkpoint with an FFN in each of `num_layers` layers, of `size` neurons."""

    checkpoint: Checkpoint
    feed_forward: FeedForward
    num_layers: int
    hidden_size: int
    size: int
    layers: tuple[DenseLayer, ...]

    @property
    def config(self) -> Mapping[str, Any]:
        """The checkpoint's config."""
        return self.checkpoint.config


def open_headers(model: str, options: RemoteOptions) -> Checkpoint:
    """Open a local folder, or a Hub id by its headers alone.

    Raises:
        CheckpointError: it cannot be used.
    """
    if options.remote:
        cache = None if options.cache is None else Path(options.cache)
        return open_remote(model, options.revision, cache)
    return open_checkpoint(model, options.revision)


def at_hand(
    seen: Checkpoint, model: str, options: RemoteOptions
) -> tuple[Checkpoint, Path]:
    """Return a checkpoint whose bytes can be read, and where its tokenizer is.

    What is not read where it is (`remote`) is downloaded.
    """
    if options.remote:
        return seen, support_folder(seen.name, seen.revision)
    folder = local_folder(model, seen.revision)
    return open_checkpoint(str(folder)), folder


def describe_dense(checkpoint: Checkpoint) -> DenseModel:
    """Find the feed-forward layers of a checkpoint and check them against its config.

    Raises:
        CarvingError: it has experts already, or its weights are quantised.
        UnsupportedArchitecture: no such layout is known for the model type.
        LayoutMismatch: config and tensors disagree.
    """
    config = checkpoint.config
    _refuse_experts(checkpoint)
    feed_forward = feed_forward_of(config)
    _refuse_quantised(config)
    num_layers = positive(config, ("n_layer", "num_hidden_layers"))
    hidden_size = positive(config, ("n_embd", "hidden_size"))
    size = feed_forward_size(config)
    found = _by_layer(checkpoint.tensors.values(), feed_forward, num_layers)
    layers = tuple(
        _layer(index, found.get(index, {}), feed_forward) for index in range(num_layers)
    )
    for layer in layers:
        _check_parts(layer, feed_forward, hidden_size, size)
    return DenseModel(
        checkpoint=checkpoint,
        feed_forward=feed_forward,
        num_layers=num_layers,
        hidden_size=hidden_size,
        size=size,
        layers=layers,
    )


def num_embeddings(model: DenseModel) -> int:
    """Return how many token ids a model can read: the rows of its embedding.

    Raises:
        LayoutMismatch: it has no embedding.
    """
    first, feed_forward = model.layers[0], model.feed_forward
    root = first.stem.removesuffix(f"{feed_forward.stack}.0.{feed_forward.block}.")
    name = f"{root}{feed_forward.embedding}.weight"
    table = model.checkpoint.tensors.get(name)
    if table is None or len(table.shape) != 2:
        raise LayoutMismatch(
            "the checkpoint has no embedding",
            where=model.checkpoint.name,
            got="none" if table is None else str(list(table.shape)),
            expected=f"{name}, [token ids, {model.hidden_size}]",
            hint="the checkpoint is incomplete; download it again",
        )
    return table.shape[0]


def _refuse_experts(checkpoint: Checkpoint) -> None:
    model_type = checkpoint.config.get("model_type")
    known = isinstance(model_type, str) and model_type in {*ARCHITECTURES, "emoe"}
    if known or any(".experts." in name for name in checkpoint.tensors):
        raise CarvingError(
            "this model has experts already",
            where="config.json, model_type",
            got=repr(model_type),
            expected="a dense model: one of " + ", ".join(FEED_FORWARDS),
            hint=(Command("select"), " chooses among its experts")
            if model_type != "emoe"
            else (Command("restore", {"dense": True}), " puts it together again"),
        )


def feed_forward_of(config: Mapping[str, Any]) -> FeedForward:
    """Return how a config's model type lays out its FFNs.

    Raises:
        UnsupportedArchitecture: that is not known.
    """
    model_type = config.get("model_type")
    if isinstance(model_type, str) and model_type in FEED_FORWARDS:
        return FEED_FORWARDS[model_type]
    raise UnsupportedArchitecture(
        "the feed-forward layers of this model type are not known",
        where="config.json, model_type",
        got=repr(model_type),
        expected="one of " + ", ".join(FEED_FORWARDS),
        hint="carve a checkpoint of one of these; for another, open an issue",
    )


def _refuse_quantised(config: Mapping[str, Any]) -> None:
    if key := quantization_key(config):
        raise CarvingError(
            "quantised weights cannot be carved",
            where=f"config.json, {key}",
            expected="weights in " + ", ".join(FLOATS),
            hint="carve the unquantised checkpoint, and quantise the outcome",
        )


def _by_layer(
    tensors: Iterable[Tensor], feed_forward: FeedForward, num_layers: int
) -> dict[int, dict[tuple[str, str], Tensor]]:
    """Return each layer's FFN tensors, by stem and part."""
    place = re.compile(
        rf"^(?P<stem>(?:.+\.)?{feed_forward.stack}\.(?P<layer>{NUMBER})"
        rf"\.{feed_forward.block}\.)(?P<part>.+)$"
    )
    found: dict[int, dict[tuple[str, str], Tensor]] = defaultdict(dict)
    for tensor in tensors:
        at = place.match(tensor.name)
        if at is None:
            continue
        layer = int(at["layer"])
        if layer >= num_layers:
            raise LayoutMismatch(
                "there are more layers than the config says",
                where=tensor.name,
                expected=f"layers below {num_layers}",
                hint="check num_hidden_layers in config.json",
            )
        found[layer][at["stem"], at["part"]] = tensor
    return found


def _layer(
    index: int, found: Mapping[tuple[str, str], Tensor], feed_forward: FeedForward
) -> DenseLayer:
    stems = sorted({stem for stem, _ in found})
    parts = {part: tensor for (_, part), tensor in found.items()}
    weights = [f"{matrix}.weight" for matrix in feed_forward.matrices]
    biases = [f"{matrix}.bias" for matrix in feed_forward.matrices]
    unknown = sorted(parts.keys() - {*weights, *biases})
    lacking = [name for name in weights if name not in parts]
    if len(stems) != 1 or unknown or lacking:
        got = f"{len(stems)} stacks of layers" if len(stems) > 1 else sorted(parts)
        raise LayoutMismatch(
            "the feed-forward layer is not made of the tensors it should be",
            where=f"layer {index}",
            got=got or "none",
            expected=", ".join(weights),
            hint="the checkpoint is incomplete, quantised or of another kind; take "
            "the original one",
        )
    # in this order whatever that of the file is, so that errors name the same tensor
    ordered = {name: parts[name] for name in (*weights, *biases) if name in parts}
    return DenseLayer(layer=index, stem=stems[0], parts=ordered)


def _check_parts(
    layer: DenseLayer, feed_forward: FeedForward, hidden_size: int, size: int
) -> None:
    for part, tensor in layer.parts.items():
        axis = feed_forward.axis(part)
        if part.endswith(".bias"):
            shape: tuple[int, ...] = (hidden_size if axis is None else size,)
        else:
            shape = (size, hidden_size) if axis == 0 else (hidden_size, size)
        if tensor.shape != shape or tensor.dtype not in FLOATS:
            raise LayoutMismatch(
                "a tensor is not what the config announces",
                where=tensor.name,
                got=f"{tensor.dtype} {list(tensor.shape)}",
                expected=f"{list(shape)} of {', '.join(FLOATS)}",
                hint="check config.json; quantised weights cannot be carved",
            )
