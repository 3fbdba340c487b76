"""Which neurons an expert gets: by which matrix, method, seed and layer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.carving.conftest import WIDTH, Blobs, Config, Dense, carved, edited
from tests.tiny_checkpoints import Blob, read_blobs
from tests.tiny_emoe import DENSE_TYPES

Groups = Mapping[int, list[list[int]]]  # of each layer, by expert
GATED = ("gate_proj", "up_proj", "down_proj")  # the first are the keys
PLAIN = ("c_fc", "c_proj")
_WEIGHT = re.compile(r".*\.(?P<layer>\d+)\.mlp\.(?P<matrix>\w+)\.weight")


def found(folder: Path) -> Groups:
    """Return the neurons that were written."""
    groups: dict[int, dict[int, list[int]]] = {}
    for name, (_, _, data) in read_blobs(folder).items():
        if name.endswith(".neurons"):
            layer, expert = (int(p) for p in name.split(".") if p.isdecimal())
            groups.setdefault(layer, {})[expert] = np.frombuffer(data, "<i4").tolist()
    return {
        layer: [experts[e] for e in range(len(experts))]
        for layer, experts in groups.items()
    }


def blob(numbers: NDArray[np.float64], dtype: str) -> Blob:
    """Store numbers that the dtype can hold."""
    if dtype == "BF16":
        upper = numbers.astype("<f4").view("<u4") >> 16
        return dtype, numbers.shape, upper.astype("<u2").tobytes()
    kind = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}[dtype]
    return dtype, numbers.shape, numbers.astype(kind).tobytes()


def planted(seed: int) -> tuple[NDArray[np.float64], list[list[int]]]:
    """Return rows [neurons, 32] in eight blocks, and the neurons of each block."""
    random = np.random.default_rng(seed)
    blocks = random.permutation(np.repeat(np.arange(8), WIDTH // 8))
    rows = np.repeat(np.eye(8), 4, axis=1)[blocks]
    rows += 0.05 * random.standard_normal(rows.shape)
    rows *= 2.0 ** random.integers(-3, 4, (WIDTH, 1))
    groups = [np.flatnonzero(blocks == block).tolist() for block in range(8)]
    return rows, sorted(groups)


def with_blocks(
    kind: str, dtype: str, expected: dict[int, list[list[int]]]
) -> Callable[[Config, Blobs], None]:
    """Return an edit that plants other blocks in each matrix of each layer."""
    matrices = PLAIN if kind == "gpt2" else GATED

    def edit(_: Config, blobs: Blobs) -> None:
        for name, (_dtype, shape, _data) in list(blobs.items()):
            at = _WEIGHT.fullmatch(name)
            if at is None:
                continue
            number, matrix = int(at["layer"]), matrices.index(at["matrix"])
            rows, groups = planted(10 * number + matrix)
            blobs[name] = blob(rows if shape == rows.shape else rows.T, dtype)
            if matrix == 0:
                expected[number] = groups

    return edit


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
@pytest.mark.parametrize("kind", DENSE_TYPES)
def test_neurons_are_grouped_by_their_keys_and_no_other_matrix(
    dense: Dense, tmp_path: Path, kind: str, dtype: str
) -> None:
    expected: dict[int, list[list[int]]] = {}
    edit = with_blocks(kind, dtype, expected)
    source = edited(dense(kind), tmp_path / "source", edit)
    carved(source, tmp_path / "carved")
    assert sorted(expected) == [0, 1, 2]
    assert found(tmp_path / "carved") == expected


@pytest.mark.parametrize("gate_source", ["up", "inter"])
def test_whatever_scores_them_experts_are_grouped_by_keys(
    dense: Dense, tmp_path: Path, gate_source: str
) -> None:
    carved(dense("llama"), tmp_path / "by keys", gate="gate")
    carved(dense("llama"), tmp_path / "carved", gate=gate_source)
    assert found(tmp_path / "carved") == found(tmp_path / "by keys")


def test_the_last_bit_of_a_bfloat16_counts(dense: Dense, tmp_path: Path) -> None:
    blocks = np.arange(WIDTH) % 8
    rows = 1 + np.repeat(np.eye(8), 4, axis=1)[blocks] / 128

    def edit(_: Config, blobs: Blobs) -> None:
        blobs["model.layers.1.mlp.gate_proj.weight"] = blob(rows, "BF16")

    source = edited(dense("llama in bfloat16"), tmp_path / "source", edit)
    carved(source, tmp_path / "carved", layers="1")
    groups = [list(range(block, WIDTH, 8)) for block in range(8)]
    assert found(tmp_path / "carved") == {1: groups}


@pytest.fixture
def alike(dense: Dense, tmp_path: Path) -> Path:
    """A model whose layers all have the same keys, in no groups."""

    def edit(_: Config, blobs: Blobs) -> None:
        first = blobs["model.layers.0.mlp.gate_proj.weight"]
        for layer in (1, 2):
            blobs[f"model.layers.{layer}.mlp.gate_proj.weight"] = first

    return edited(dense("llama"), tmp_path / "source", edit)


def groups(source: Path, **settings: Any) -> Groups:
    out = source.with_name("carved")
    carved(source, out, force=True, **settings)
    return found(out)


@pytest.mark.parametrize("method", ["kmeans", "random"])
def test_each_seed_and_each_layer_is_another_draw(alike: Path, method: str) -> None:
    first = groups(alike, method=method, seed=0)
    assert first[0] != first[1] != first[2] != first[0]
    assert groups(alike, method=method, seed=0) == first
    other = groups(alike, method=method, seed=1)
    assert all(other[layer] != first[layer] for layer in range(3))
    assert groups(alike, method=method, layers="2") == {2: first[2]}


def test_contiguous_neurons_stay_as_they_lie(alike: Path) -> None:
    lying = np.arange(WIDTH).reshape(8, 8).tolist()
    for seed in (0, 1):
        assert groups(alike, method="contiguous", seed=seed) == dict.fromkeys(
            range(3), lying
        )


def test_methods_differ(alike: Path) -> None:
    kmeans, random, contiguous = (
        groups(alike, method=method)[0] for method in ("kmeans", "random", "contiguous")
    )
    assert kmeans != random != contiguous != kmeans


@pytest.mark.parametrize(
    ("kind", "gate_source", "flops"),
    [
        # two for a weight of 32 inputs: the neurons picked (2 experts of 8) of each
        # matrix, and 8 mean keys; or all 64 of those that make activations
        ("llama", "gate", 2 * 32 * (16 + 16 + 16 + 8)),
        ("llama", "up", 2 * 32 * (16 + 16 + 16 + 8)),
        ("llama", "inter", 2 * 32 * (64 + 64 + 16)),
        ("gpt2", "gate", 2 * 32 * (16 + 16 + 8)),
        ("gpt2", "inter", 2 * 32 * (64 + 16)),
    ],
)
def test_flops_are_those_of_what_is_computed(
    dense: Dense, tmp_path: Path, kind: str, gate_source: str, flops: int
) -> None:
    record = carved(dense(kind), tmp_path / "carved", gate=gate_source, layers="0,2")
    whole = 2 * 32 * 64 * (2 if kind == "gpt2" else 3)
    assert [layer.ffn_flops_per_token for layer in record.layers] == [flops, flops]
    assert [layer.dense_ffn_flops_per_token for layer in record.layers] == [
        whole,
        whole,
    ]
    assert record.dense_ffn_flops_per_token == 3 * whole
    assert record.ffn_flops_per_token == 2 * flops + whole
