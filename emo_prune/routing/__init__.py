"""Run examples through a model and observe its own routing.

`calibrate` makes a task's prompts batches of tokens, `observe` counts in one pass,
`observe_greedy` with the earlier layers already pruned, `StreamedRun` layer by layer.
What comes out is `LayerRouting`: integer counts and float64 sums, free of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emo_prune.lazy import lazy_names
from emo_prune.routing.counts import LayerRouting
from emo_prune.routing.ranks import Ranks, current_ranks, joined_ranks

if TYPE_CHECKING:
    from emo_prune.routing.batches import (
        Batch,
        TokenizedExamples,
        check_vocabulary,
        make_batches,
        tokenize,
    )
    from emo_prune.routing.blocks import moe_blocks, prune_in_place
    from emo_prune.routing.calibration import Calibrated, calibrate, chat_template
    from emo_prune.routing.masking import masked
    from emo_prune.routing.modularity import Modularity, measure_modularity
    from emo_prune.routing.passes import observe, observe_greedy
    from emo_prune.routing.streamed import (
        StreamedRun,
        must_stream,
        refuse_ranks,
        resolved_dtype,
        resumable,
    )
    from emo_prune.routing.weights import HeldBytes

__all__ = [
    "Batch",
    "Calibrated",
    "HeldBytes",
    "LayerRouting",
    "Modularity",
    "Ranks",
    "StreamedRun",
    "TokenizedExamples",
    "calibrate",
    "chat_template",
    "check_vocabulary",
    "current_ranks",
    "joined_ranks",
    "make_batches",
    "masked",
    "measure_modularity",
    "moe_blocks",
    "must_stream",
    "observe",
    "observe_greedy",
    "prune_in_place",
    "refuse_ranks",
    "resolved_dtype",
    "resumable",
    "tokenize",
]

_HOMES = {
    "Batch": "batches",
    "Calibrated": "calibration",
    "HeldBytes": "weights",
    "Modularity": "modularity",
    "StreamedRun": "streamed",
    "TokenizedExamples": "batches",
    "calibrate": "calibration",
    "chat_template": "calibration",
    "check_vocabulary": "batches",
    "make_batches": "batches",
    "masked": "masking",
    "measure_modularity": "modularity",
    "moe_blocks": "blocks",
    "must_stream": "streamed",
    "observe": "passes",
    "observe_greedy": "passes",
    "prune_in_place": "blocks",
    "refuse_ranks": "streamed",
    "resolved_dtype": "streamed",
    "resumable": "streamed",
    "tokenize": "batches",
}

__getattr__ = lazy_names(__name__, _HOMES)
