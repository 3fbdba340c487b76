"""What several documents say alike: of a model, of what ran through it, of versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import UNSET, UnsetType

from emo_prune.artifacts import Count, Part, Positive, Sha256

# The packages whose versions a document records, in its order.
SELECTING = ("emo-prune", "torch", "transformers", "lm-eval")
SCORING = ("emo-prune", "lm-eval", "transformers", "torch")
COMPUTING = ("torch", "transformers")
PRETRAINING = ("emo-prune", "torch", "transformers", "tokenizers")

Versions = Mapping[str, str]


class SourceModel(Part, frozen=True, kw_only=True):
    """The checkpoint that something was made of.

    name: Hub id, or the folder's own name. revision: the commit, of a Hub id.
    num_experts_per_tok: the router's top-k.
    """

    name: str
    revision: str | None
    fingerprint: Sha256
    model_type: str
    num_experts: Positive
    num_shared_experts: Count
    num_experts_per_tok: Positive


class Calibration(Part, frozen=True, kw_only=True):
    """The examples that ran through a model.

    documents: hash of each document that was used, sorted. num_truncated: examples
    longer than the context, cut on the left. What is unset older files did not say.
    """

    task: str
    split: str | UnsetType | None = UNSET
    protocol: Literal["standard", "emo"] | UnsetType | None = UNSET
    answer: Literal["letter", "text"] | UnsetType | None = UNSET
    num_examples: Count
    num_fewshot: Count | UnsetType | None = UNSET
    seed: int | UnsetType = UNSET
    num_tokens: Count
    num_truncated: Count | UnsetType = UNSET
    tokens_sha256: str | UnsetType = UNSET
    documents: tuple[str, ...]
