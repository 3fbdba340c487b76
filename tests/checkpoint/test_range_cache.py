"""A second run moves only what the first did not, whatever happened to the folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_prune.checkpoint import Checkpoint, Wanted, open_remote
from emo_prune.checkpoint.hub import HubSource
from emo_prune.checkpoint.range_cache import RangeCache
from tests.hub_server import COMMIT, Hub, point_at, serving
from tests.tiny_checkpoints import moe_blobs, write_checkpoint

SHARD = "model-00001-of-00002.safetensors"
DATA = bytes(range(256)) * 8


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    blobs = moe_blobs({"up_proj.weight": ("BF16", 500, 40)})
    folder = write_checkpoint(tmp_path / "model", blobs=blobs, shards=2)
    with serving(folder) as hub:
        point_at(hub.url, monkeypatch, tmp_path / "hub-cache")
        yield hub


def source(checkpoint: Checkpoint) -> HubSource:
    assert isinstance(checkpoint.source, HubSource)
    return checkpoint.source


def expected(hub: Hub, start: int, end: int) -> bytes:
    return (hub.folder / SHARD).read_bytes()[start:end]


def pieces(cache: Path) -> list[Path]:
    return sorted((cache / "org--name" / COMMIT / SHARD).iterdir())


def test_second_read_moves_no_byte(hub: Hub, tmp_path: Path) -> None:
    first = open_remote("org/name", cache=tmp_path / "cache")
    contents = {name: first.read(tensor) for name, tensor in first.tensors.items()}
    moved = hub.bytes_served
    again = open_remote("org/name", cache=tmp_path / "cache")
    assert {n: again.read(tensor) for n, tensor in again.tensors.items()} == contents
    assert hub.bytes_served == moved
    assert source(again).bytes_read == 0


def test_only_the_gaps_of_a_range_are_fetched(hub: Hub, tmp_path: Path) -> None:
    source = HubSource("org/name", cache=tmp_path / "cache")
    source.read(SHARD, 10_000, 20_000)
    source.read(SHARD, 30_000, 40_000)
    moved = hub.shard_bytes
    assert source.read(SHARD, 5_000, 45_000) == expected(hub, 5_000, 45_000)
    assert hub.shard_bytes - moved == 20_000
    assert source.read(SHARD, 15_000, 16_000) == expected(hub, 15_000, 16_000)
    assert hub.shard_bytes - moved == 20_000


def test_damaged_piece_is_ignored_and_replaced(hub: Hub, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    HubSource("org/name", cache=cache).read(SHARD, 0, 1000)
    (piece,) = pieces(cache)
    piece.write_bytes(piece.read_bytes()[:-1])
    for _ in range(2):
        source = HubSource("org/name", cache=cache)
        assert source.read(SHARD, 0, 1000) == expected(hub, 0, 1000)
        assert piece.stat().st_size == 1000
    assert source.bytes_read == 0


def test_piece_removed_meanwhile_is_fetched_again(hub: Hub, tmp_path: Path) -> None:
    source = HubSource("org/name", cache=tmp_path / "cache")
    source.read(SHARD, 0, 1000)
    for piece in pieces(tmp_path / "cache"):
        piece.unlink()
    assert source.read(SHARD, 10, 900) == expected(hub, 10, 900)


def test_strangers_in_the_folder_are_left_alone(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "org--name" / COMMIT / SHARD
    (folder / "5-9").mkdir(parents=True)
    (folder / "9-5").write_bytes(b"")
    (folder / ".x.partial").write_bytes(b"unfinished")
    source = HubSource("org/name", cache=tmp_path / "cache")
    assert source.read(SHARD, 0, 20) == expected(hub, 0, 20)
    assert (folder / ".x.partial").read_bytes() == b"unfinished"


def test_folder_that_cannot_be_written_fails_no_read(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    source = HubSource("org/name", cache=tmp_path / "cache")
    assert source.read(SHARD, 0, 20) == expected(hub, 0, 20)
    assert "cannot be written" in str(source.cache_problem)
    assert source.read(SHARD, 0, 20) == expected(hub, 0, 20)


def test_full_disk_leaves_no_piece_and_stops(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    cache = RangeCache(tmp_path, "org/name", COMMIT)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        cache.store("file", 0, memoryview(DATA))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert cache.problem is not None
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    cache.store("file", 0, memoryview(DATA))
    assert len(cache.fill([Wanted("file", 0, memoryview(bytearray(5)))])) == 1


def test_two_processes_see_what_the_other_left(tmp_path: Path) -> None:
    one, two = (RangeCache(tmp_path, "org/name", COMMIT) for _ in range(2))
    for cache in (one, two):
        cache.store("file", 0, memoryview(DATA)[:100])
    one.store("file", 50, memoryview(DATA)[50:200])
    third = RangeCache(tmp_path, "org/name", COMMIT)
    buffer = bytearray(200)
    assert third.fill([Wanted("file", 0, memoryview(buffer))]) == []
    assert buffer == DATA[:200]


SPANS = st.tuples(st.integers(0, 400), st.integers(0, 100))


@settings(deadline=None, max_examples=60)
@given(stored=st.lists(SPANS, max_size=6), wanted=st.lists(SPANS, max_size=4))
def test_stored_and_lacking_bytes_make_up_the_whole(
    tmp_path_factory: pytest.TempPathFactory,
    stored: list[tuple[int, int]],
    wanted: list[tuple[int, int]],
) -> None:
    cache = RangeCache(tmp_path_factory.mktemp("cache"), "org/name", COMMIT)
    known: set[int] = set()
    for start, size in stored:
        cache.store("file", start, memoryview(DATA)[start : start + size])
        known |= set(range(start, start + size))
    for start, size in wanted:
        buffer = bytearray(size)
        gaps = cache.fill([Wanted("file", start, memoryview(buffer))])
        lacking = {gap.start + at for gap in gaps for at in range(len(gap.buffer))}
        assert lacking == set(range(start, start + size)) - known
        for gap in gaps:
            gap.buffer[:] = DATA[gap.start : gap.start + len(gap.buffer)]
        assert buffer == DATA[start : start + size]
