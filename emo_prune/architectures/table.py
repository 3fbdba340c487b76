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

from emo_prune.architectures.config import positive
from emo_prune.architectures.feed_forward import FEED_FORWARDS
from emo_prune.errors import Command, Text, UnsupportedArchitecture
from emo_prune.places import CONFIG

# What stands before a layer's number in a tensor's name; `h` is GPT-2's.
LAYERS = r"(?:layers|h)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """How one model type lays out its experts.

    `scoring` is how router logits become probabilities. `group_picks` is how many
    experts of a group the router looks at to rank the group (0: it has no groups);
    `grouping_key` is the config's key that turns groups off when it is "greedy".
    `shared_last` says that shared experts are the last rows of the router and count
    among the experts; elsewhere they are separate tensors that nothing here touches.
    """

    model_type: str
    block: str = "mlp"
    router: str = "gate"
    router_rows: tuple[str, ...] = ("gate.weight",)
    scoring: Literal["softmax", "sigmoid"] = "softmax"
    group_picks: int = 0
    grouping_key: str | None = None
    shared_last: bool = False

    @property
    def is_tied(self) -> bool:
        """Whether the router is computed from the experts' own weights."""
        return not self.router_rows

    def groups(self, config: Mapping[str, Any], key: str) -> int:
        """Return the number of router groups (or of those used); 1 without groups.

        Raises:
            LayoutMismatch: the config gives another thing than a number.
        """
        # Without the key, transformers does not group.
        ungrouped = self.grouping_key is not None and (
            config.get(self.grouping_key, "greedy") == "greedy"
        )
        if not self.group_picks or ungrouped or config.get(key) is None:
            return 1
        return positive(config, (key,))


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
        Architecture(
            model_type="deepseek_v2", group_picks=1, grouping_key="topk_method"
        ),
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
        where=f"{CONFIG}, model_type",
        got=repr(model_type),
        expected="one of " + ", ".join(ARCHITECTURES),
        hint=_way_out(str(model_type)),
    )


def _way_out(model_type: str) -> Text:
    if model_type in FEED_FORWARDS:
        carve = Command("carve", {"model": "MODEL"})
        return ("it is dense, without experts; make some with `", carve, "`")
    if close := difflib.get_close_matches(model_type, ARCHITECTURES, n=1):
        return f"did you mean {close[0]}?"
    return "dense models have no experts to prune; for another MoE, open an issue"
