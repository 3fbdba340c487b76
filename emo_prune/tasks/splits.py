"""Which rows calibrate and which are scored, by the EMO authors' protocol.

Shuffling is that of `datasets.Dataset.shuffle(seed=0)`: NumPy's default generator,
one permutation. So the same questions are scored as in the paper, as long as the rows
come in the order of the Hub.
"""

from __future__ import annotations

import numpy as np

EMO_SEED = 0
_MMLU_CALIBRATION = 0.6
_PRO_RESERVED = 100
_PRO_SCORED = 0.6


def permutation(size: int, seed: int) -> list[int]:
    """Return the order `Dataset.shuffle(seed=seed)` gives `size` rows."""
    return [int(i) for i in np.random.default_rng(seed).permutation(size)]


def emo_mmlu(size: int) -> tuple[list[int], list[int]]:
    """Return (calibration, scored) rows of one MMLU subject's test split, 60 / 40."""
    order = permutation(size, EMO_SEED)
    cut = int(size * _MMLU_CALIBRATION)
    return order[:cut], order[cut:]


def emo_mmlu_pro(size: int) -> tuple[list[int], list[int]]:
    """Return (calibration, scored) rows of one MMLU-Pro category's test split.

    The first 100 shuffled rows calibrate; of the rest the first 60 % are scored and the
    last 40 % calibrate too.
    """
    order = permutation(size, EMO_SEED)
    reserved, rest = order[:_PRO_RESERVED], order[_PRO_RESERVED:]
    cut = int(len(rest) * _PRO_SCORED)
    return reserved + rest[cut:], rest[:cut]
