"""What a fingerprint sees, and what it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_prune.architectures import fingerprint
from tests.tiny_checkpoints import (
    CONFIG,
    NUM_EXPERTS,
    Blob,
    moe_blobs,
    opened,
    write_checkpoint,
)

GATE = "model.layers.0.mlp.gate.weight"


def identity(folder: Path, **changes: Any) -> str:
    return fingerprint(opened(write_checkpoint(folder, **changes)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model")


def test_sharding_names_and_order_do_not_matter(tmp_path: Path) -> None:
    whole = identity(tmp_path / "a")
    assert whole.startswith("sha256:")
    assert len(whole) == 71
    assert identity(tmp_path / "another name", shards=5) == whole
    backwards = dict(reversed(moe_blobs().items()))
    assert identity(tmp_path / "b", blobs=backwards) == whole


@pytest.mark.parametrize("key", ["_name_or_path", "transformers_version",
                                 "torch_dtype", "dtype"])  # fmt: skip
def test_keys_of_whoever_saved_it_do_not_matter(tmp_path: Path, key: str) -> None:
    config = {key: "x", **CONFIG}
    assert identity(tmp_path / "a", config=config) == identity(tmp_path / "b")


@pytest.mark.parametrize("change", [{"num_experts_per_tok": 1}, {"rope_theta": 1.0}])
def test_every_other_key_matters(tmp_path: Path, change: dict[str, Any]) -> None:
    changed = identity(tmp_path / "a", config=CONFIG | change)
    assert changed != identity(tmp_path / "b")


@settings(max_examples=40, deadline=None)
@given(position=st.integers(0, 63), value=st.integers(1, 255))
def test_every_router_byte_matters(folder: Path, position: int, value: int) -> None:
    blobs = moe_blobs()
    before = identity(folder, blobs=blobs)
    dtype, shape, data = blobs[GATE]
    changed = bytearray(data)
    changed[position] ^= value
    blobs[GATE] = (dtype, shape, bytes(changed))
    assert identity(folder, blobs=blobs) != before


def permuted(blobs: dict[str, Blob], layer: int, order: list[int]) -> dict[str, Blob]:
    """Put expert `order[i]` in place i: its tensors and its router row."""
    head = f"model.layers.{layer}.mlp."
    result = dict(blobs)
    for new, old in enumerate(order):
        for name in blobs:
            if name.startswith(f"{head}experts.{old}."):
                part = name.removeprefix(f"{head}experts.{old}.")
                result[f"{head}experts.{new}.{part}"] = blobs[name]
    dtype, shape, data = blobs[f"{head}gate.weight"]
    row = len(data) // len(order)
    rows = b"".join(data[i * row : (i + 1) * row] for i in order)
    result[f"{head}gate.weight"] = (dtype, shape, rows)
    return result


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(NUM_EXPERTS)), layer=st.integers(0, 1))
def test_every_permutation_of_experts_matters(
    folder: Path, order: list[int], layer: int
) -> None:
    before = identity(folder, blobs=moe_blobs())
    after = identity(folder, blobs=permuted(moe_blobs(), layer, order))
    assert (after == before) == (order == sorted(order))
