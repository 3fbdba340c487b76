from __future__ import annotations

from typing import Any

import pytest

from tests.evaluation.tiny import byte_tokenizer, tiny_olmoe


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """One token a byte."""
    return byte_tokenizer()


@pytest.fixture(scope="session")
def model() -> Any:
    """A tiny mixture of experts."""
    return tiny_olmoe(0)


@pytest.fixture(scope="session")
def other_model() -> Any:
    """Another one."""
    return tiny_olmoe(1)
