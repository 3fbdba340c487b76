"""What a checkpoint is and what parts of it would weigh, from headers alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_prune.architectures.feed_forward import Carving, is_parameter
from emo_prune.architectures.model import Limits, MoEModel
from emo_prune.architectures.opening import open_model
from emo_prune.checkpoint import Tensor
from emo_prune.options import InspectOptions, needed_model, verb
from emo_prune.units import format_bytes, format_count

if TYPE_CHECKING:
    from pandas import DataFrame

SHARES = (0.5, 0.25, 0.125)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What keeping a share of the experts would weigh on disk.

    `routable` is False where fewer experts stay than the router needs for a token.
    """

    share: float
    num_experts: int
    num_bytes: int
    routable: bool


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Inspection:
    """Facts of an MoE checkpoint. Bytes and parameters are those stored on disk.

    `num_shared_experts` are among the experts (EMO); separate ones are modules of
    their own (Qwen2-MoE, DeepSeek), which nothing here touches.
    Parameters of packed (quantised) weights are counted as stored elements.
    `carving` says how a dense model was carved into this one (EMoE), if it was.
    """

    name: str
    revision: str | None
    model_type: str
    num_layers: int
    num_moe_layers: int
    num_experts: int
    num_shared_experts: int
    num_separate_shared_experts: int
    num_experts_per_tok: int
    num_groups: int
    dtypes: Mapping[str, int]
    quantization: str | None
    num_parameters: int
    num_expert_parameters: int
    num_active_parameters: int
    num_bytes: int
    num_expert_bytes: int
    num_shards: int
    sizes: tuple[Size, ...]
    carving: Carving | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what `inspect --json` prints."""
        return {"schema": "emo-prune/inspection/1", **asdict(self)}

    def to_pandas(self) -> DataFrame:
        """Return the sizes, a line for each share: share, num_experts, num_bytes.

        Raises:
            ReportError: pandas is not installed.
        """
        from emo_prune.artifacts import data_frame

        return data_frame([asdict(size) for size in self.sizes])

    def __repr__(self) -> str:
        return (
            f"Inspection({self.name}: {self.model_type}, {self.num_moe_layers} layers "
            f"of {self.num_experts} experts, top-{self.num_experts_per_tok}, "
            f"{format_count(self.num_parameters)} parameters, "
            f"{format_bytes(self.num_bytes)})"
        )

    def _repr_html_(self) -> str:
        from emo_prune.artifacts import html_table

        full = Size(
            share=1.0,
            num_experts=self.num_experts,
            num_bytes=self.num_bytes,
            routable=True,
        )
        return html_table(
            (self.name, "experts", "on disk", "enough for the router"),
            [
                (
                    f"{size.share:.1%}",
                    size.num_experts,
                    format_bytes(size.num_bytes),
                    "yes" if size.routable else "no",
                )
                for size in (full, *self.sizes)
            ],
        )


@verb(InspectOptions)
def inspect(options: InspectOptions) -> Inspection:
    """Say what a checkpoint is, and what parts of its experts would weigh.

    Reads config and headers alone.

    Raises:
        CheckpointError, ArchitectureError: it cannot be used; says why.
    """
    return inspect_model(
        open_model(
            needed_model(options.model, options.verb),
            options.revision,
            remote=options.remote,
            cache=None if options.cache is None else Path(options.cache),
        )
    )


def inspect_model(model: MoEModel) -> Inspection:
    """Return the facts of a model; reads nothing further."""
    tensors = model.checkpoint.tensors.values()
    dtypes: Counter[str] = Counter()
    for tensor in tensors:
        dtypes[tensor.dtype] += tensor.num_bytes
    parameters = sum(_parameters(tensor) for tensor in tensors)
    of_layers = [sum(map(_parameters, layer.of_experts)) for layer in model.layers]
    idle = sum(
        number * (1 - model.top_k / layer.num_experts)
        for number, layer in zip(of_layers, model.layers, strict=True)
    )
    return Inspection(
        name=model.checkpoint.name,
        revision=model.checkpoint.revision,
        model_type=model.architecture.model_type,
        num_layers=model.num_layers,
        num_moe_layers=len(model.layers),
        num_experts=model.num_experts,
        num_shared_experts=model.num_shared_experts,
        num_separate_shared_experts=_separate_shared_experts(model),
        num_experts_per_tok=model.top_k,
        num_groups=model.num_groups,
        dtypes=dict(dtypes.most_common()),
        quantization=_quantization(model.config),
        num_parameters=parameters,
        num_expert_parameters=sum(of_layers),
        num_active_parameters=round(parameters - idle),
        num_bytes=model.checkpoint.num_bytes,
        num_expert_bytes=sum(layer.expert_bytes for layer in model.layers),
        num_shards=len(model.checkpoint.shards),
        sizes=tuple(_size(model, share) for share in SHARES),
        carving=model.carving,
    )


def bytes_keeping(model: MoEModel, num_experts: int) -> int:
    """Return the bytes of weights that stay with so many experts in each layer."""
    dropped = sum(
        (layer.expert_bytes + layer.router_bytes)
        * (1 - min(num_experts, layer.num_experts) / layer.num_experts)
        for layer in model.layers
    ) + sum(tensor.num_bytes for tensor in model.predictors)
    return round(model.checkpoint.num_bytes - dropped)


def _size(model: MoEModel, share: float) -> Size:
    kept = math.floor(share * model.num_experts)
    return Size(
        share=share,
        num_experts=kept,
        num_bytes=bytes_keeping(model, kept),
        routable=kept >= Limits.of(model).least(),
    )


def _parameters(tensor: Tensor) -> int:
    """Return a tensor's parameters; buffers and numbers of neurons are none."""
    return tensor.num_parameters if is_parameter(tensor.name) else 0


def _separate_shared_experts(model: MoEModel) -> int:
    if not any(".shared_expert" in tensor.name for tensor in model.other):
        return 0
    return int(model.config.get("n_shared_experts") or 1)


def _quantization(config: Mapping[str, Any]) -> str | None:
    settings = config.get("quantization_config") or config.get("quantization")
    if not isinstance(settings, dict):
        return None
    return str(settings.get("quant_method") or "unnamed")
