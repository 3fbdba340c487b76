"""Types of documents that are not typed yet where they are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta

from emo_prune.artifacts import Count, Document, Part, Positive, Sha256
from emo_prune.facts import Versions


class DenseSource(Part, frozen=True, kw_only=True):
    name: str
    revision: str | None
    fingerprint: Sha256
    model_type: str


class CarvedLayer(Part, frozen=True, kw_only=True):
    layer: Count
    tightness: float
    ffn_flops_per_token: Positive
    dense_ffn_flops_per_token: Positive


class Modularity(Part, frozen=True, kw_only=True, forbid_unknown_fields=False):
    layer: Count
    load: tuple[float, ...]
    picked_energy: float
    best_energy: float
    fixed_energy: float
    even_energy: float


class CalibrationFacts(Part, frozen=True, kw_only=True, forbid_unknown_fields=False):
    task: str
    num_examples: Count
    num_tokens: Count


class Measured(Part, frozen=True, kw_only=True):
    calibration: CalibrationFacts
    layers: Annotated[tuple[Modularity, ...], Meta(min_length=1)]
    versions: Versions


class CarvingRecord(Document, frozen=True, kw_only=True, tag="emo-prune/carving/1"):
    model: DenseSource
    num_experts: Positive
    expert_size: Positive
    num_experts_per_tok: Positive
    method: str
    gate_source: str
    seed: int
    num_layers: Positive
    num_parameters: Positive
    dense_num_parameters: Positive
    ffn_flops_per_token: Positive
    dense_ffn_flops_per_token: Positive
    layers: Annotated[tuple[CarvedLayer, ...], Meta(min_length=1)]
    copied: Mapping[str, str]
    left_out: tuple[str, ...]
    versions: Versions
    measured: Measured | None


def reader(schema: str) -> type[Document] | Any:

    kinds = {str(t.schema): t for t in (CarvingRecord, PretrainRecord)}
    return kinds.get(schema)


class Source(Part, frozen=True, kw_only=True, forbid_unknown_fields=False):
    name: str | None = None
    bytes: Count | None = None
    sha256: str | None = None


class Domain(Part, frozen=True, kw_only=True):
    name: str
    documents: Count
    tokens: Count


class TrainingData(Part, frozen=True, kw_only=True, forbid_unknown_fields=False):
    schema: str
    sources: tuple[Source, ...]
    tokenizer: str
    dtype: str
    num_tokens: Count
    num_documents: Count
    tokens_sha256: str
    domains: tuple[Domain, ...]


class PretrainRecord(Document, frozen=True, kw_only=True, tag="emo-prune/pretrain/1"):
    variant: str
    recipe: Mapping[str, Any]
    data: TrainingData
    initialised_from: str | None
    steps: Count
    tokens: Count
    final: Mapping[str, float]
    loss_by_step: tuple[tuple[int, float], ...]
    versions: Versions
