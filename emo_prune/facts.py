"""What several documents say alike: of a model, of what ran through it, of versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from emo_prune.artifacts import Count, Part, Positive, Sha256

# The packages whose versions a document records, in its order.
SELECTING = ("emo-prune", "torch", "transformers", "lm-eval")
SCORING = ("emo-prune", "lm-eval", "transformers", "torch")
COMPUTING = ("torch", "transformers")
CARVING = ("emo-prune", "numpy")
PRETRAINING = ("emo-prune", "torch", "transformers", "tokenizers")

Versions = Mapping[str, str]
Share = Annotated[float, Meta(ge=0, le=1.000001)]  # a sum of floats


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


class CalibrationFacts(Part, frozen=True, kw_only=True):
    """Which examples ran through a model.

    num_truncated: examples longer than the context, cut on the left. What is unset
    older files did not say.
    """

    task: str
    split: str | UnsetType | None = UNSET
    protocol: Literal["standard", "emo"] | UnsetType | None = UNSET
    answer: Literal["letter", "text"] | UnsetType | None = UNSET
    num_examples: Count
    num_fewshot: Count | UnsetType | None = UNSET
    seed: Count | UnsetType = UNSET
    num_tokens: Count
    num_truncated: Count | UnsetType = UNSET
    tokens_sha256: str | UnsetType = UNSET


class Calibration(CalibrationFacts, frozen=True, kw_only=True):
    """The examples that experts were chosen on.

    documents: hash of each document that was used, sorted: none of them is scored.
    """

    documents: tuple[str, ...]


class Modularity(Part, frozen=True, kw_only=True):
    """What one carved layer showed on T tokens.

    picked_energy: the share of a token's activation energy (the sum of its squared
        intermediate activations) that the k picked experts hold, a mean over tokens.
    best_energy: that of the k experts which hold most of the token's.
    fixed_energy: that of the k which hold most over all tokens, the same for each.
    even_energy: k / experts, as if it were spread evenly.
    load: for each expert, the share of tokens that pick it.
    """

    layer: Count
    num_tokens: Positive
    picked_energy: Share
    best_energy: Share
    fixed_energy: Share
    even_energy: Share
    load: Annotated[tuple[Share, ...], Meta(min_length=1)]
