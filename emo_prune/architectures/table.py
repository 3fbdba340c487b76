"""The table of supported architectures, as data.

Names are those on disk. `block` is the module that holds the experts of a layer;
`router` its routing module; `router_rows` the tensors with one row per expert, relative
to the block: none where the router is computed from the experts' own weights, as EMoE's
is. Source of each entry: `transformers/models/<model_type>/` and
`transformers/conversion_mapping.py` (5.23); `emo`: the released checkpoints of
arXiv 2605.06663 and `emo_prune/models/`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from emo_prune.architectures.feed_forward import FEED_FORWARDS
from emo_prune.errors import UnsupportedArchitecture

# Every name a config may give the same number. All that are present are edited; the
# first counts (GLM-4 configs can hold a stray `num_experts` beside the true one).
EXPERT_COUNT_KEYS = (
    "n_routed_experts",
    "num_experts",
    "num_local_experts",
    "moe_num_experts",
)
TOP_K_KEYS = ("num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_topk")
# What stands before a layer's number in a tensor's name; `h` is GPT-2's.
LAYERS = r"(?:layers|h)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """How one model type lays out its experts.

    `scoring` is how router logits become probabilities. `group_picks` is how many
    experts of a group the router looks at to rank the group (0: it has no groups).
    `shared_last` says that shared experts are the last rows of the router and count
    among the experts; elsewhere they are separate tensors that nothing here touches.
    """

    model_type: str
    block: str = "mlp"
    router: str = "gate"
    router_rows: tuple[str, ...] = ("gate.weight",)
    scoring: Literal["softmax", "sigmoid"] = "softmax"
    group_picks: int = 0
    shared_last: bool = False

    @property
    def is_tied(self) -> bool:
        """Whether the router is computed from the experts' own weights."""
        return not self.router_rows


_CORRECTION = ("gate.weight", "gate.e_score_correction_bias")

ARCHITECTURES: Mapping[str, Architecture] = {
    architecture.model_type: architecture
    for architecture in (
        Architecture(model_type="emo", shared_last=True),
        Architecture(model_type="emoe", router_rows=()),
        Architecture(model_type="olmoe"),
        Architecture(model_type="flex_olmo"),
        Architecture(model_type="mixtral", block="block_sparse_moe"),
        Architecture(model_type="qwen2_moe"),
        Architecture(model_type="qwen3_moe"),
        Architecture(
            model_type="gpt_oss",
            router="router",
            router_rows=("router.weight", "router.bias"),
        ),
        Architecture(model_type="deepseek_v2", group_picks=1),
        Architecture(
            model_type="deepseek_v3",
            router_rows=_CORRECTION,
            scoring="sigmoid",
            group_picks=2,
        ),
        Architecture(
            model_type="glm4_moe",
            router_rows=_CORRECTION,
            scoring="sigmoid",
            group_picks=2,
        ),
        Architecture(
            model_type="minimax_m2",
            block="block_sparse_moe",
            router_rows=("gate.weight", "e_score_correction_bias"),
            scoring="sigmoid",
        ),
    )
}


def architecture_of(config: Mapping[str, Any]) -> Architecture:
    """Return the table's entry for a config.

    Raises:
        UnsupportedArchitecture: no entry for its `model_type`.
    """
    model_type = config.get("model_type")
    if isinstance(model_type, str) and model_type in ARCHITECTURES:
        return ARCHITECTURES[model_type]
    raise UnsupportedArchitecture(
        "this architecture is not supported",
        where="config.json, model_type",
        got=repr(model_type),
        expected="one of " + ", ".join(ARCHITECTURES),
        hint=_way_out(str(model_type)),
    )


def _way_out(model_type: str) -> str:
    if model_type in FEED_FORWARDS:
        return "it is dense, without experts; make some with `emo-prune carve MODEL`"
    if close := difflib.get_close_matches(model_type, ARCHITECTURES, n=1):
        return f"did you mean {close[0]}?"
    return "dense models have no experts to prune; for another MoE, open an issue"
