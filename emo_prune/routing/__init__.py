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
    from emo_prune.routing.modularity import measure_modularity
    from emo_prune.routing.observer import named_failures, observe, observe_greedy
    from emo_prune.routing.placement import (
        Ranks,
        current_ranks,
        joined_ranks,
        must_stream,
        refuse_quantised,
        refuse_ranks,
        resolved_dtype,
    )
    from emo_prune.routing.saved_run import refuse_leftover, resumable
    from emo_prune.routing.streamed import StreamedRun
    from emo_prune.routing.weights import HeldBytes

__all__ = [
    "Batch",
    "Calibrated",
    "HeldBytes",
    "LayerRouting",
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
    "named_failures",
    "observe",
    "observe_greedy",
    "prune_in_place",
    "refuse_leftover",
    "refuse_quantised",
    "refuse_ranks",
    "resolved_dtype",
    "resumable",
    "say_imports",
    "tokenize",
]

_HOMES = {
    "Batch": "calibration",
    "Calibrated": "calibration",
    "HeldBytes": "weights",
    "Ranks": "placement",
    "StreamedRun": "streamed",
    "TokenizedExamples": "calibration",
    "calibrate": "calibration",
    "chat_template": "calibration",
    "check_vocabulary": "calibration",
    "current_ranks": "placement",
    "joined_ranks": "placement",
    "make_batches": "calibration",
    "masked": "blocks",
    "measure_modularity": "modularity",
    "moe_blocks": "blocks",
    "must_stream": "placement",
    "named_failures": "observer",
    "observe": "observer",
    "observe_greedy": "observer",
    "prune_in_place": "blocks",
    "refuse_leftover": "saved_run",
    "refuse_quantised": "placement",
    "refuse_ranks": "placement",
    "resolved_dtype": "placement",
    "resumable": "saved_run",
    "say_imports": "calibration",
    "tokenize": "calibration",
}

__getattr__ = lazy_names(__name__, _HOMES)
