"""Run examples through a model and observe its own routing.

`calibrate` makes a task's prompts batches of tokens, `observe` counts in one pass,
`observe_greedy` with the earlier layers already pruned, `StreamedRun` layer by layer.
What comes out is `LayerRouting`: integer counts and float64 sums, free of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emo_prune.lazy import lazy_names
from emo_prune.routing.counts import LayerRouting

if TYPE_CHECKING:
    from emo_prune.routing.blocks import masked, moe_blocks, prune_in_place
    from emo_prune.routing.calibration import (
        Batch,
        Calibrated,
        TokenizedExamples,
        calibrate,
        chat_template,
        check_vocabulary,
        make_batches,
        say_imports,
        tokenize,
    )
    from emo_prune.routing.observer import observe, observe_greedy
    from emo_prune.routing.placement import Ranks, current_ranks, refuse_ranks
    from emo_prune.routing.saved_run import resumable
    from emo_prune.routing.streamed import StreamedRun

__all__ = [
    "Batch",
    "Calibrated",
    "LayerRouting",
    "Ranks",
    "StreamedRun",
    "TokenizedExamples",
    "calibrate",
    "chat_template",
    "check_vocabulary",
    "current_ranks",
    "make_batches",
    "masked",
    "moe_blocks",
    "observe",
    "observe_greedy",
    "prune_in_place",
    "refuse_ranks",
    "resumable",
    "say_imports",
    "tokenize",
]

_HOMES = {
    "Batch": "calibration",
    "Calibrated": "calibration",
    "Ranks": "placement",
    "StreamedRun": "streamed",
    "TokenizedExamples": "calibration",
    "calibrate": "calibration",
    "chat_template": "calibration",
    "check_vocabulary": "calibration",
    "current_ranks": "placement",
    "make_batches": "calibration",
    "masked": "blocks",
    "moe_blocks": "blocks",
    "observe": "observer",
    "observe_greedy": "observer",
    "prune_in_place": "blocks",
    "refuse_ranks": "placement",
    "resumable": "saved_run",
    "say_imports": "calibration",
    "tokenize": "calibration",
}

__getattr__ = lazy_names(__name__, _HOMES)
