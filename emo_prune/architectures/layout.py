"""Find the experts of a checkpoint: every tensor gets one role, and is checked."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from emo_prune.architectures.config import (
    EXPERT_COUNT_KEYS,
    TOP_K_KEYS,
    always_active_experts,
    of_layer,
    positive,
    shared_experts,
    wrong,
)
from emo_prune.architectures.feed_forward import carving
from emo_prune.architectures.model import LAYER, NUMBER, MoELayer, MoEModel
from emo_prune.architectures.table import Architecture, architecture_of
from emo_prune.checkpoint import FLOATS, Checkpoint, Tensor
from emo_prune.errors import LayoutMismatch
from emo_prune.places import CONFIG

_INDEXED = re.compile(rf"^experts\.(?P<expert>{NUMBER})\.(?P<part>.+)$")


def describe(checkpoint: Checkpoint) -> MoEModel:
    """Find the experts of a checkpoint and check them against its config.

    Raises:
        UnsupportedArchitecture: the table has no entry for the model type.
        LayoutMismatch: config and tensors disagree, or a tensor fits no role.
    """
    architecture = architecture_of(checkpoint.config)
    config = checkpoint.config
    num_layers = positive(config, ("num_hidden_layers",))
    num_experts = positive(config, EXPERT_COUNT_KEYS)
    blocks, other, predictors = _sort_tensors(
        checkpoint.tensors.values(), architecture, num_layers
    )
    layers = tuple(
        _build_layer(layer, blocks[layer], architecture, config, num_experts)
        for layer in sorted(blocks)
        if not blocks[layer].is_dense
    )
    _check_all_layers_found(layers, set(blocks), architecture, config, num_layers)
    carved = None
    if architecture.is_tied:
        carved = carving(config, [layer.layer for layer in layers])
    top_k = positive(config, TOP_K_KEYS)
    _check_top_k(top_k, layers)
    num_groups = architecture.groups(config, "n_group")
    top_k_groups = architecture.groups(config, "topk_group")
    _check_groups(num_groups, top_k_groups, layers)
    return MoEModel(
        checkpoint=checkpoint,
        architecture=architecture,
        num_layers=num_layers,
        layers=layers,
        num_experts=num_experts,
        num_shared_experts=max(len(layer.shared) for layer in layers),
        top_k=top_k,
        num_groups=num_groups,
        top_k_groups=top_k_groups,
        other=other,
        predictors=predictors,
        carving=carved,
    )


class _Block:
    """Tensors of a layer's feed-forward block, as they are found.

    `stacks` are the names of the lists of layers that those with experts stand in.
    """

    def __init__(self) -> None:
        self.experts: dict[int, list[tuple[str, Tensor]]] = defaultdict(list)
        self.stacked: list[Tensor] = []
        self.router: list[tuple[str, Tensor]] = []
        self.stacks: set[str] = set()

    @property
    def is_dense(self) -> bool:
        """Whether it has no experts, and only bears the same name."""
        return not (self.experts or self.stacked or self.router)


def _sort_tensors(
    tensors: Iterable[Tensor], architecture: Architecture, num_layers: int
) -> tuple[dict[int, _Block], tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return the blocks by layer, all other tensors, and those of predictors."""
    blocks: dict[int, _Block] = defaultdict(_Block)
    other: list[Tensor] = []
    predictors: list[Tensor] = []
    prefix = f"{architecture.block}."
    for tensor in tensors:
        found = LAYER.match(tensor.name)
        if tensor.name.startswith("mtp."):
            predictors.append(tensor)
            continue
        if found is None:
            other.append(tensor)
            continue
        layer, rest = int(found["layer"]), found["rest"]
        if layer >= num_layers:
            predictors.append(tensor)
            continue
        if rest.startswith(prefix):
            block = blocks[layer]
            if _place(tensor, rest.removeprefix(prefix), block, architecture):
                block.stacks.add(tensor.name[: found.start("layer")])
                continue
        other.append(tensor)
    return blocks, tuple(other), tuple(predictors)


def _place(tensor: Tensor, rest: str, block: _Block, table: Architecture) -> bool:
    """Put a tensor of the block where it belongs; False if it has no expert axis."""
    indexed = _INDEXED.match(rest)
    if indexed:
        block.experts[int(indexed["expert"])].append((indexed["part"], tensor))
    elif rest.startswith("experts."):
        block.stacked.append(tensor)
    elif rest in table.router_rows:
        block.router.append((rest, tensor))
    elif rest.startswith(f"{table.router}.") and rest not in table.router_rows:
        raise LayoutMismatch(
            "the router has a tensor that cannot be cut by rows",
            where=tensor.shard,
            got=tensor.name,
            expected="only " + ", ".join(table.router_rows),
            hint="the router is quantised, or of another kind; use the original "
            "checkpoint and quantise the export",
        )
    else:
        return False
    return True


def _build_layer(
    layer: int,
    block: _Block,
    architecture: Architecture,
    config: Mapping[str, Any],
    num_experts: int,
) -> MoELayer:
    expected = of_layer(config, "num_experts_per_layer", layer, num_experts)
    router = tuple(tensor for _, tensor in sorted(block.router, key=lambda p: p[0]))
    _check_router(layer, block.router, architecture, expected)
    _check_experts(layer, block, expected)
    active = always_active_experts(config, layer, expected)
    # Where some are always active, EMO's router does not set shared ones apart.
    apart = architecture.shared_last and not active
    num_shared = shared_experts(config, layer, expected) if apart else 0
    _check_one_stack(layer, block)
    return MoELayer(
        layer=layer,
        num_experts=expected,
        experts=tuple(
            tuple(tensor for _, tensor in sorted(block.experts[i], key=lambda p: p[0]))
            for i in range(expected)
        )
        if block.experts
        else (),
        stacked=tuple(block.stacked),
        router=router,
        shared=tuple(range(expected - num_shared, expected)),
        always_active=active,
    )


def _check_one_stack(layer: int, block: _Block) -> None:
    """Refuse two stacks of layers in one checkpoint: a selection speaks of one."""
    if len(block.stacks) > 1:
        raise LayoutMismatch(
            "two stacks of layers have experts",
            where=f"layer {layer}",
            got=" and ".join(stack.rstrip(".") for stack in sorted(block.stacks)),
            expected="one",
            hint="save the language model without the other part",
        )


def _check_router(
    layer: int,
    rows: Sequence[tuple[str, Tensor]],
    architecture: Architecture,
    num_experts: int,
) -> None:
    if architecture.is_tied:
        return
    if architecture.router_rows[0] not in {name for name, _ in rows}:
        raise LayoutMismatch(
            "the layer has experts but no router",
            where=f"layer {layer}",
            expected=f"{architecture.block}.{architecture.router_rows[0]}",
            hint="the checkpoint is incomplete; download it again",
        )
    for _, tensor in rows:
        # Any other type is packed, and cannot be cut by rows.
        if tensor.shape[:1] != (num_experts,) or tensor.dtype not in FLOATS:
            raise LayoutMismatch(
                "the router's rows do not match the number of experts",
                where=tensor.name,
                got=f"{tensor.dtype} {list(tensor.shape)}",
                expected=f"{num_experts} rows of a floating-point type",
                hint=f"check num_experts in {CONFIG}",
            )


def _check_experts(layer: int, block: _Block, num_experts: int) -> None:
    found = sorted(block.experts)
    if found and (len(found) != num_experts or found[-1] != num_experts - 1):
        raise LayoutMismatch(
            "the experts' tensors do not match the config",
            where=f"layer {layer}",
            got=f"{len(found)} experts, ids {found[0]} to {found[-1]}",
            expected=f"{num_experts}, ids 0 to {num_experts - 1}",
            hint=f"check num_experts in {CONFIG}; is every shard there?",
        )
    for tensor in block.stacked:
        if tensor.shape[:1] != (num_experts,):
            raise LayoutMismatch(
                "the stacked experts do not match the config",
                where=tensor.name,
                got=f"shape {list(tensor.shape)}",
                expected=f"{num_experts} experts on the first axis",
                hint=f"check num_experts in {CONFIG}",
            )
    if not block.experts and not block.stacked:
        raise LayoutMismatch(
            "the layer has a router but no experts",
            where=f"layer {layer}",
            hint="the checkpoint is incomplete; download it again",
        )
    kinds = {_kind(block.experts[i]) for i in found}
    if len(kinds) > 1:
        raise LayoutMismatch(
            "the experts of a layer are not alike",
            where=f"layer {layer}",
            got="different tensors, types or shapes",
            expected="the same for each expert",
            hint="the checkpoint is incomplete or damaged; download it again",
        )


def _kind(expert: Sequence[tuple[str, Tensor]]) -> tuple[tuple[object, ...], ...]:
    return tuple(
        (part, tensor.dtype, tensor.shape)
        for part, tensor in sorted(expert, key=lambda p: p[0])
    )


def _check_all_layers_found(
    layers: Sequence[MoELayer],
    seen: Set[int],
    architecture: Architecture,
    config: Mapping[str, Any],
    num_layers: int,
) -> None:
    """Check the layers against the config; `seen` are those with any block."""
    lacking = next((i for i in range(num_layers) if i not in seen), None)
    if layers and lacking is not None:
        raise LayoutMismatch(
            "a layer that the config announces has no tensors",
            where=f"layers.{lacking}.{architecture.block}",
            got=f"{len(seen)} layers",
            expected=f"{num_layers}, as num_hidden_layers says",
            hint="the checkpoint is incomplete; download it again",
        )
    if not layers:
        raise LayoutMismatch(
            "the checkpoint has no experts",
            where="the tensors' names",
            expected=f"layers.N.{architecture.block}.experts.*",
            hint=f"check that {CONFIG} belongs to these shards",
        )
    per_layer = config.get("num_experts_per_layer")
    if per_layer is None:
        return
    announced = {i for i in range(num_layers) if per_layer[i]}
    found = {layer.layer for layer in layers}
    if announced != found:
        raise LayoutMismatch(
            "the layers with experts are not those the config announces",
            where="num_experts_per_layer",
            got=f"experts in layers {sorted(found)}",
            expected=str(sorted(announced)),
            hint=f"check {CONFIG}",
        )


def _check_top_k(top_k: int, layers: Sequence[MoELayer]) -> None:
    for layer in layers:
        if not len(layer.obligatory) <= top_k <= layer.num_experts:
            raise wrong(
                "the router cannot pick that many experts for a token",
                top_k,
                key=f"num_experts_per_tok, layer {layer.layer}",
                expected=f"{len(layer.obligatory)} to {layer.num_experts}",
            )


def _check_groups(groups: int, picked: int, layers: Sequence[MoELayer]) -> None:
    if picked > groups or any(layer.num_experts % groups for layer in layers):
        raise LayoutMismatch(
            "the experts cannot be divided into the groups the config announces",
            where=f"{CONFIG}, n_group and topk_group",
            got=f"{groups} groups, {picked} of them used",
            expected=f"a divisor of {layers[0].num_experts}",
            hint=f"check {CONFIG}",
        )
