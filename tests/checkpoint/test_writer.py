"""Files written from byte ranges are files that safetensors reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import safetensors
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_prune.checkpoint import (
    ByteRange,
    FolderSource,
    OutputTensor,
    Shard,
    plan_shards,
    write_shard,
)
from tests.tiny_checkpoints import deserialize

SOURCE = bytes(range(256)) * 4

RANGES = st.lists(
    st.tuples(st.integers(0, 1000), st.integers(0, 24)).map(
        lambda r: ByteRange("source", r[0], r[0] + r[1])
    ),
    min_size=1,
    max_size=4,
)
COMPUTED = st.binary(max_size=20).map(
    lambda data: [ByteRange("", 0, len(data), lambda: data)]
)
TENSORS = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
    RANGES | COMPUTED,
    max_size=6,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    (folder / "source").write_bytes(SOURCE)
    return folder


def tensors_of(ranges: dict[str, Sequence[ByteRange]]) -> tuple[OutputTensor, ...]:
    return tuple(
        OutputTensor(
            name=name,
            dtype="U8",
            shape=(sum(piece.num_bytes for piece in pieces),),
            ranges=tuple(pieces),
        )
        for name, pieces in ranges.items()
    )


def data_of(tensor: OutputTensor) -> bytes:
    return b"".join(
        piece.data() if piece.data else SOURCE[piece.start : piece.end]
        for piece in tensor.ranges
    )


@settings(deadline=None)
@given(TENSORS)
def test_written_shard_opens_in_safetensors(
    folder: Path, ranges: dict[str, Sequence[ByteRange]]
) -> None:
    shard = Shard(name="out.safetensors", tensors=tensors_of(ranges))
    (folder / shard.name).unlink(missing_ok=True)
    told: list[int] = []
    write_shard(shard, FolderSource(folder), folder, told.append)
    raw = (folder / shard.name).read_bytes()
    assert len(raw) == shard.num_bytes
    assert sum(told) == sum(tensor.num_bytes for tensor in shard.tensors)
    found = {name: bytes(t["data"]) for name, t in deserialize(raw)}
    assert found == {tensor.name: data_of(tensor) for tensor in shard.tensors}
    with safetensors.safe_open(folder / shard.name, framework="np") as file:
        assert file.metadata() == {"format": "pt"}
    assert int.from_bytes(raw[:8], "little") % 8 == 0


@given(
    sizes=st.lists(st.integers(0, 50), min_size=1, max_size=30),
    limit=st.integers(1, 120),
)
def test_shards_hold_at_most_the_limit(sizes: list[int], limit: int) -> None:
    tensors = tensors_of(
        {str(i): [ByteRange("source", 0, size)] for i, size in enumerate(sizes)}
    )
    shards = plan_shards(tensors, limit)
    assert [t for shard in shards for t in shard.tensors] == list(tensors)
    for shard in shards:
        data = sum(tensor.num_bytes for tensor in shard.tensors)
        assert data <= limit or len(shard.tensors) == 1
    total = len(shards)
    names = [f"model-{i + 1:05d}-of-{total:05d}.safetensors" for i in range(total)]
    expected = ["model.safetensors"] if total == 1 else names
    assert [shard.name for shard in shards] == expected


def test_existing_file_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out.safetensors").write_text("mine")
    shard = Shard(name="out.safetensors", tensors=())
    with pytest.raises(FileExistsError):
        write_shard(shard, FolderSource(folder), tmp_path)
    assert (tmp_path / "out.safetensors").read_text() == "mine"


# What other systems lack: macOS before 11 the first, all but Linux the second.
LACKING = [(), ("preadv",), ("posix_fallocate", "O_NONBLOCK", "preadv", "pwrite")]


@pytest.mark.parametrize("lacking", LACKING)
def test_large_ranges_are_copied_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: Sequence[str]
) -> None:
    for name in lacking:
        monkeypatch.delattr(os, name, raising=False)
    data = os.urandom(3 * 2**20 + 5)
    (tmp_path / "source").write_bytes(data)
    whole = [ByteRange("source", 0, len(data))] * 13  # beyond any buffer
    parts = [ByteRange("source", 1, len(data)), ByteRange("source", 0, len(data) - 1)]
    tensors = tensors_of({"whole": whole, "parts": parts})
    shard = Shard(name="out.safetensors", tensors=tensors)
    write_shard(shard, FolderSource(tmp_path), tmp_path)
    raw = (tmp_path / shard.name).read_bytes()
    assert len(raw) == shard.num_bytes
    assert raw.endswith(13 * data + data[1:] + data[:-1])
