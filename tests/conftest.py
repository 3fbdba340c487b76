"""Fixtures shared by all tests: where real data are, and a clean environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.tiny_models import CHECKPOINTS, save_tiny

REPOSITORY = Path(__file__).resolve().parent.parent


def _folder(variable: str, default: str) -> Path:
    """Return the folder a variable (or the default beside the clone) points at."""
    path = Path(os.environ.get(variable) or REPOSITORY.parent / "shared" / default)
    if not path.is_dir():
        pytest.skip(f"no {default} at {path}; point {variable} at a copy")
    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep notes of where checkpoints are out of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the caller's EMO_PRUNE_* options, and CI's summary, out of the tests."""
    for name in list(os.environ):
        if name.startswith("EMO_PRUNE_") and not name.endswith("_DIR"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@pytest.fixture(scope="session")
def goldens() -> Path:
    """The original authors' results on tiny checkpoints."""
    return _folder("EMO_PRUNE_GOLDENS_DIR", "goldens")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Local copies of MMLU, MMLU-Pro, GSM8K and others."""
    return _folder("EMO_PRUNE_DATA_DIR", "data")


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of a tiny model as transformers saves it: do not change it."""

    @cache
    def folder(model_type: str) -> Path:
        return save_tiny(tmp_path_factory.mktemp("saved") / model_type, model_type)

    return folder


@pytest.fixture(params=CHECKPOINTS)
def source(request: pytest.FixtureRequest, saved: Callable[[str], Path]) -> Path:
    """A tiny model of every supported architecture in turn: do not change it."""
    return saved(request.param)
