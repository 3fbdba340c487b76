"""lm-eval and datasets talk a lot; library code prints nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back lm-eval's warnings and the progress bars of `datasets`."""
    import datasets

    logger = logging.getLogger("lm_eval")
    level = logger.level
    bars = not datasets.utils.are_progress_bars_disabled()
    logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if bars:
            datasets.enable_progress_bars()
