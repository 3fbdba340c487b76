"""`carving.json`: what a carved checkpoint was made from, and how; kept inside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emo_prune.exports import Kind

CARVING = "carving.json"
SCHEMA = "emo-prune/carving/1"
CARVED = Kind(record=CARVING, schema=SCHEMA)


@dataclass(frozen=True, slots=True, kw_only=True)
class CarvedLayer:
    """What became of one layer; `tightness` is `clustering.tightness`."""

    layer: int
    tightness: float
    dense_flops: int
    flops: int

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready value."""
        return {
            "layer": self.layer,
            "tightness": self.tightness,
            "ffn_flops_per_token": self.flops,
            "dense_ffn_flops_per_token": self.dense_flops,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CarvingRecord:
    """What a carved checkpoint was made from, and how.

    `model` are the facts of the dense one, `dense_num_parameters` are its. Of what is
    stored, `neurons` and buffers are no parameters. `copied` maps files of it to their
    names here, `left_out` were not copied. `measured` is what was observed on examples,
    by `to_json` of that; or None.
    """

    model: Mapping[str, Any]
    num_experts: int
    expert_size: int
    top_k: int
    method: str
    gate_source: str
    seed: int
    num_layers: int
    num_parameters: int
    dense_num_parameters: int
    layers: Sequence[CarvedLayer]
    copied: Mapping[str, str]
    left_out: Sequence[str]
    versions: Mapping[str, str]
    measured: Mapping[str, Any] | None = None

    @property
    def dense_ffn_flops(self) -> int:
        """FLOPs per token of all FFNs before: layers are alike."""
        return self.num_layers * self.layers[0].dense_flops

    @property
    def ffn_flops(self) -> int:
        """FLOPs per token of all FFNs, carved or not."""
        saved = sum(layer.dense_flops - layer.flops for layer in self.layers)
        return self.dense_ffn_flops - saved

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of carving.json."""
        return {
            "schema": SCHEMA,
            "model": dict(self.model),
            "num_experts": self.num_experts,
            "expert_size": self.expert_size,
            "num_experts_per_tok": self.top_k,
            "method": self.method,
            "gate_source": self.gate_source,
            "seed": self.seed,
            "num_layers": self.num_layers,
            "num_parameters": self.num_parameters,
            "dense_num_parameters": self.dense_num_parameters,
            "ffn_flops_per_token": self.ffn_flops,
            "dense_ffn_flops_per_token": self.dense_ffn_flops,
            "layers": [layer.to_json() for layer in self.layers],
            "copied": dict(self.copied),
            "left_out": list(self.left_out),
            "versions": dict(self.versions),
            "measured": None if self.measured is None else dict(self.measured),
        }
