"""`scores.safetensors`: the routing of one pass, to select from again and again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from emo_prune.architectures import Limits
from emo_prune.errors import BadSelection
from emo_prune.files import strict_json, write_atomically
from emo_prune.routing.counts import COUNTS, SUMS, LayerRouting
from emo_prune.selection.selection import selection_schema

SCHEMA = "emo-prune/scores/1"
_ARRAYS = (*COUNTS, *SUMS)
_OPTIONAL = ("weighted_norms", "token_weighted")
_FACTS = ("model", "calibration", "versions")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoresFile:
    """Everything counted in one pass, with what a selection needs to say about it."""

    model: Mapping[str, Any]
    calibration: Mapping[str, Any]
    versions: Mapping[str, str]
    limits: Limits
    layers: tuple[LayerRouting, ...]


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
        "model": dict(scores.model),
        "calibration": dict(scores.calibration),
        "versions": dict(scores.versions),
        "limits": scores.limits.to_json(),
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
            header = strict_json((file.metadata() or {})["emo_prune"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header["schema"] != SCHEMA:
            raise ValueError(f"schema {header['schema']!r}")
        _check_facts(header)
        limits = Limits.from_json(header["limits"])
        return ScoresFile(
            model=header["model"],
            calibration=header["calibration"],
            versions=header["versions"],
            limits=limits,
            layers=_layers(arrays, limits),
        )
    except (
        OSError,
        SafetensorError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        raise BadSelection(
            "this is not a scores file",
            where=path,
            got=str(error) or type(error).__name__,
            expected=f"a file with schema {SCHEMA}",
            hint="make one with select --save-scores",
        ) from None


def _check_facts(header: Mapping[str, Any]) -> None:
    """Raise `ValueError` where the facts are not ones a selection can carry."""
    import fastjsonschema

    for name in _FACTS:
        validate = fastjsonschema.compile(selection_schema()["properties"][name])
        try:
            validate(header[name])
        except fastjsonschema.JsonSchemaValueException as problem:
            raise ValueError(f"{name}: {problem.message}") from None


def _layers(
    arrays: Mapping[str, np.ndarray[Any, Any]], limits: Limits
) -> tuple[LayerRouting, ...]:
    layers: Sequence[int] = sorted(limits.num_experts)
    routing = []
    for layer in layers:
        found = {name: arrays.get(f"layers.{layer}.{name}") for name in _ARRAYS}
        for name, array in found.items():
            shape = (2,) if name == "num_tokens" else (2, limits.num_experts[layer])
            dtype = np.dtype("int64" if name in COUNTS else "float64")
            if array is None and name in _OPTIONAL:
                continue
            if array is None or array.shape != shape or array.dtype != dtype:
                raise ValueError(f"layer {layer} lacks {name}, {dtype} {shape}")
        routing.append(LayerRouting(layer=layer, **found))  # type: ignore[arg-type]
    return tuple(routing)
