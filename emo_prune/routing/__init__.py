"""Run examples through a model and observe its own routing.

`tokenize` and `make_batches` prepare the examples, `observe` counts in one pass, and
`observe_greedy` goes layer by layer with the earlier layers already pruned. What comes
out is `LayerRouting`: integer counts and float64 sums, free of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emo_prune.lazy import lazy_names
from emo_prune.routing.counts import LayerRouting
from emo_prune.routing.ranks import Ranks, current_ranks, joined_ranks

if TYPE_CHECKING:
    from emo_prune.routing.batches import Batch as Batch
    from emo_prune.routing.batches import TokenizedExamples as TokenizedExamples
    from emo_prune.routing.batches import make_batches as make_batches
    from emo_prune.routing.batches import tokenize as tokenize
    from emo_prune.routing.passes import observe as observe
    from emo_prune.routing.passes import observe_greedy as observe_greedy

__all__ = [
    "Batch",
    "LayerRouting",
    "Ranks",
    "TokenizedExamples",
    "current_ranks",
    "joined_ranks",
    "make_batches",
    "observe",
    "observe_greedy",
    "tokenize",
]

_HOMES = {
    "Batch": "batches",
    "TokenizedExamples": "batches",
    "make_batches": "batches",
    "observe": "passes",
    "observe_greedy": "passes",
    "tokenize": "batches",
}


__getattr__ = lazy_names(__name__, _HOMES)
