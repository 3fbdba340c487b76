from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.tiny_models import save_tiny


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a tiny model as transformers saves it: do not change it."""

    @cache
    def folder(model_type: str) -> Path:
        return save_tiny(tmp_path_factory.mktemp("saved") / model_type, model_type)

    return folder
