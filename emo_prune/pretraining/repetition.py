"""Windows that repeat themselves, which teach nothing and upset the training."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST_PERIOD = 13  # tokens; as in the EMO authors' training


def repeats_itself(tokens: NDArray[Any], max_repeats: int) -> bool:
    """Tell whether some 1 to 13 tokens come `max_repeats` times in a row, or more.

    `tokens` [S]. OLMo-core's instance filter, which leaves such windows out of the loss
    (https://github.com/allenai/OLMo-core).
    """
    return any(
        _longest_run(tokens[period:] == tokens[:-period]) >= period * (max_repeats - 1)
        for period in range(1, min(LONGEST_PERIOD, len(tokens) - 1) + 1)
    )


def _longest_run(holds: NDArray[np.bool_]) -> int:
    breaks = np.flatnonzero(~holds)
    edges = np.concatenate(([-1], breaks, [len(holds)]))
    return int(np.diff(edges).max()) - 1
