"""The routing of a model that is in memory, as a choice of experts needs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from emo_prune.architectures import MoEModel
from emo_prune.progress import Watcher
from emo_prune.routing import LayerRouting
from emo_prune.selection import NEED_OUTPUTS
from emo_prune.selection.chooser import Chooser

if TYPE_CHECKING:
    from emo_prune.routing import Batch


def observe_loaded(
    loaded: Any,
    model: MoEModel,
    batches: Sequence[Batch],
    chooser: Chooser,
    watcher: Watcher,
    **how: Any,
) -> list[LayerRouting]:
    """Run batches through a loaded model and return the routing of its layers.

    A greedy chooser has then chosen, layer by layer, and the model is whole again; any
    other is still to be shown the layers. `how` is handed on to the observation.

    Raises:
        RoutingError: a router gives NaN, or the model has no experts where it should.
    """
    from emo_prune.routing import observe, observe_greedy

    passes = len(model.layers) if chooser.greedy else 1
    tokens = passes * sum(int(batch.attention_mask.sum()) for batch in batches)
    architecture = model.architecture
    how["outputs"] = chooser.score in NEED_OUTPUTS
    with watcher.track("observing routing", tokens, "tokens") as advance:
        how["progress"] = advance
        if not chooser.greedy:
            return observe(loaded, architecture, batches, **how)
        choose, top_k = chooser.choose, chooser.budget.top_k
        return observe_greedy(loaded, architecture, batches, choose, top_k, **how)
