"""Fixtures shared by all tests: real data where it is, small made-up things otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def _folder(variable: str, default: str) -> Path:
    """Return the folder a variable (or the default beside the clone) points at."""
    path = Path(os.environ.get(variable) or REPOSITORY.parent / "shared" / default)
    if not path.is_dir():
        pytest.skip(f"no {default} at {path}; point {variable} at a copy")
    return path


@pytest.fixture(scope="session")
def goldens() -> Path:
    """The original authors' results on tiny checkpoints."""
    return _folder("EMO_PRUNE_GOLDENS_DIR", "goldens")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Local copies of MMLU, MMLU-Pro, GSM8K and others."""
    return _folder("EMO_PRUNE_DATA_DIR", "data")
