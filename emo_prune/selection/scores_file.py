"""`scores.safetensors`: the routing of one pass, to select from again and again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from emo_prune.architectures import Limits
from emo_prune.artifacts import Count, Part, Positive, convert
from emo_prune.errors import BadSelection, Command
from emo_prune.facts import Calibration, SourceModel, Versions
from emo_prune.files import strict_json, write_atomically
from emo_prune.routing.counts import COUNTS, SUMS, LayerRouting
from emo_prune.selection.document import Selection

SCHEMA = "emo-prune/scores/1"
_ARRAYS = (*COUNTS, *SUMS)
_OPTIONAL = ("weighted_norms", "token_weighted")
_MOST = {"int64": 2**53, "float64": 1e100}  # of what was counted: sums stay numbers


class _Limits(Part, frozen=True, kw_only=True):
    """`Limits` as JSON has them: layer ids are texts."""

    num_experts: Mapping[Count, Positive]
    obligatory: Mapping[Count, tuple[Count, ...]]
    num_shared_experts: Count
    top_k: Positive
    num_groups: Positive
    top_k_groups: Positive
    group_picks: Count


class _Header(Part, frozen=True, kw_only=True, tag_field="schema", tag=SCHEMA):
    model: SourceModel
    calibration: Calibration
    versions: Versions
    limits: _Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoresFile:
    """Everything counted in one pass, with what a selection needs to say about it."""

    model: SourceModel
    calibration: Calibration
    versions: Versions
    limits: Limits
    layers: tuple[LayerRouting, ...]

    @classmethod
    def of(
        cls, selection: Selection, limits: Limits, layers: Iterable[LayerRouting]
    ) -> ScoresFile:
        """Return what a selection was made of."""
        return cls(
            model=selection.model,
            calibration=selection.calibration,
            versions=selection.versions,
            limits=limits,
            layers=tuple(layers),
        )


def write_scores(path: Path, scores: ScoresFile) -> None:
    """Write scores.safetensors: arrays `layers.N.<name>`, facts in the metadata."""
    arrays = {
        f"layers.{layer.layer}.{name}": np.ascontiguousarray(array)
        for layer in scores.layers
        for name in _ARRAYS
        if (array := getattr(layer, name)) is not None
    }
    header = {
        "schema": SCHEMA,
        "model": scores.model.to_dict(),
        "calibration": scores.calibration.to_dict(),
        "versions": dict(scores.versions),
        "limits": msgspec.to_builtins(scores.limits, str_keys=True),
    }
    # One metadata key: the library writes several in an order that changes per run.
    # Keys stay in order, so that a selection from the file equals a direct one.
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":"))
    metadata = {"emo_prune": text}
    write_atomically(path, save(arrays, metadata=metadata))


def read_scores(path: Path) -> ScoresFile:
    """Read scores.safetensors.

    Raises:
        BadSelection: it is missing, damaged, or not a scores file.
    """
    try:
        with safe_open(path, framework="np") as file:
            value = strict_json((file.metadata() or {})["emo_prune"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if value["schema"] != SCHEMA:
            raise ValueError(f"schema {value['schema']!r}")
        header = convert(value, _Header)
        limits = Limits(**msgspec.structs.asdict(header.limits))
        _check_limits(limits)
        return ScoresFile(
            model=header.model,
            calibration=header.calibration,
            versions=header.versions,
            limits=limits,
            layers=_layers(arrays, limits),
        )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BadSelection(
            "this is not a scores file",
            where=path,
            got=str(error) or type(error).__name__,
            expected=f"a file with schema {SCHEMA}",
            hint=("make one with ", Command("select", {"save_scores": True})),
        ) from None


def _check_limits(limits: Limits) -> None:
    """Raise `ValueError` for limits that no model has: experts are chosen by them."""
    if not limits.num_experts:
        raise ValueError("no layer has experts")
    if limits.num_experts.keys() != limits.obligatory.keys():
        raise ValueError("the limits name different layers")
    for layer, total in limits.num_experts.items():
        ids = limits.obligatory[layer]
        if list(ids) != sorted({i for i in ids if i < total}):
            raise ValueError(f"layer {layer} has no such experts: {list(ids)[:9]}")
        if not limits.group_picks:
            continue
        size, rest = divmod(total - len(ids), limits.num_groups)
        if rest or limits.group_picks > size:
            raise ValueError(f"{limits.num_groups} groups do not fit layer {layer}")
    if limits.top_k_groups > limits.num_groups:
        raise ValueError("a token cannot use more groups than there are")


def _layers(
    arrays: Mapping[str, np.ndarray[Any, Any]], limits: Limits
) -> tuple[LayerRouting, ...]:
    routing = []
    for layer in sorted(limits.num_experts):
        found = {name: arrays.get(f"layers.{layer}.{name}") for name in _ARRAYS}
        for name, array in found.items():
            shape = (2,) if name == "num_tokens" else (2, limits.num_experts[layer])
            dtype = np.dtype("int64" if name in COUNTS else "float64")
            if array is None and name in _OPTIONAL:
                continue
            if array is None or array.shape != shape or array.dtype != dtype:
                raise ValueError(f"layer {layer} lacks {name}, {dtype} {shape}")
            if (array < 0).any() or (array > _MOST[dtype.name]).any():
                raise ValueError(f"layer {layer}: {name} was not counted")
        routing.append(LayerRouting(layer=layer, **found))  # type: ignore[arg-type]
    return tuple(routing)
