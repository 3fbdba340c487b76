"""A poor network is survived with the right bytes, or named; never anything else."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emo_prune.checkpoint import FolderSource, Wanted, ranges, retry
from emo_prune.checkpoint.hub import HubSource
from emo_prune.errors import HubError, MissingShard
from tests.hub_server import Fault, Hub, point_at, serving

SHARD = "model.safetensors"
SIZE = 3_000_000
DATA = np.random.default_rng(0).bytes(SIZE)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / SHARD).write_bytes(DATA)
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.001)
    with serving(folder) as hub:
        point_at(hub.url, monkeypatch, tmp_path / "hub-cache")
        yield hub


@pytest.fixture
def source(hub: Hub) -> HubSource:
    return HubSource("org/name")


SURVIVED = {
    "503": Fault(status=503, times=3),
    "500 from the Hub itself": Fault(on="GET /org", status=500, times=3),
    "503 that says when to come back": Fault(
        status=503, headers={"Retry-After": 0}, times=2
    ),
    "503 that says it by a date": Fault(
        status=503, headers={"Retry-After": formatdate(0, usegmt=True)}, times=2
    ),
    "503 that says it by a date without a zone": Fault(
        status=503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 -0000"}
    ),
    "503 with a body that is JSON, but no object": Fault(status=503, body=b"[1]"),
    "Retry-After that is no digit": Fault(status=503, headers={"Retry-After": "²"}),
    "Retry-After that is neither": Fault(status=503, headers={"Retry-After": "soon"}),
    "Retry-After of a year beyond reason": Fault(
        status=503, headers={"Retry-After": f"Wed, 21 Oct {10**30} 07:28:00 GMT"}
    ),
    "429": Fault(on="GET /org", status=429, times=3),
    "429 with the Hub's own header": Fault(
        on="GET /org", status=429, headers={"RateLimit": '"resolvers";r=0;t=0'}
    ),
    "408": Fault(status=408),
    "signed address that ran out": Fault(status=403),
    "connection closed without an answer": Fault(hang_up=True, times=3),
    "body cut at its first byte": Fault(cut=0, times=3),
    "body cut in the middle, more often than attempts": Fault(cut=70_000, times=20),
    "short body that claims to be all": Fault(short=70_000, times=3),
    "slow bytes": Fault(speed=(300_000, 0.05)),
    "HEAD answered by 503": Fault(on="HEAD", status=503, times=3),
}


@pytest.mark.parametrize("fault", SURVIVED.values(), ids=SURVIVED)
def test_survived_with_the_right_bytes(
    hub: Hub, fault: Fault, capfd: pytest.CaptureFixture[str]
) -> None:
    fault = replace(fault)  # it counts down
    hub.faults.append(fault)
    assert HubSource("org/name").read(SHARD, 10, SIZE - 10) == DATA[10:-10]
    assert not fault.times
    assert capfd.readouterr().err == ""


def test_cut_body_goes_on_where_it_stopped(hub: Hub, source: HubSource) -> None:
    hub.faults.append(Fault(cut=1_000_000))
    assert source.read(SHARD, 0, SIZE) == DATA
    assert source.bytes_read == hub.shard_bytes == SIZE


def test_silent_server_is_asked_again(
    hub: Hub, source: HubSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "TIMEOUT", 0.2)
    hub.faults.append(Fault(speed=(1_000_000, 0.6)))
    assert source.read(SHARD, 0, SIZE) == DATA
    assert len(hub.gets()) >= 2


def test_refused_connections_are_tried_again(
    hub: Hub, source: HubSource, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.1)
    with contextlib.ExitStack() as later:
        with serving(hub.folder) as early:
            point_at(early.url, monkeypatch, tmp_path / "hub-cache")
            port = early.server_address[1]
        back = threading.Timer(
            0.2, lambda: later.enter_context(serving(hub.folder, port))
        )
        back.start()
        assert source.read(SHARD, 0, 1000) == DATA[:1000]
        back.join()


def test_retry_after_is_kept(hub: Hub, source: HubSource) -> None:
    hub.faults.append(Fault(status=503, headers={"Retry-After": 1}))
    began = time.monotonic()
    source.read(SHARD, 0, 10)
    assert time.monotonic() - began >= 1


def test_wait_that_a_server_asks_for_is_bounded(
    hub: Hub, source: HubSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "LONGEST_RETRY_AFTER", 0.01)
    hub.faults.append(Fault(status=503, headers={"Retry-After": 10**9}))
    assert source.read(SHARD, 0, 10) == DATA[:10]


NAMED = {
    "503 for good": (Fault(status=503, times=99), "stopped serving"),
    "429 for good": (Fault(on="GET /org", status=429, times=99), "stopped serving"),
    "closed for good": (Fault(hang_up=True, times=99), "stopped serving"),
    "body without bytes": (Fault(short=0, times=99), "end early"),
    "body cut for good": (Fault(cut=0, times=99), "0 bytes from byte 5 on"),
    "another start": (
        Fault(headers={"Content-Range": f"bytes 6-99/{SIZE}"}),
        "Content-Range from byte 5",
    ),
    "no Content-Range that can be read": (
        Fault(headers={"Content-Range": "bytes=5-99"}),
        "Content-Range from byte 5",
    ),
    "a Content-Range of 5,000 digits": (
        Fault(headers={"Content-Range": f"bytes {'9' * 5000}-99/{SIZE}"}),
        "Content-Range from byte 5",
    ),
    "another size": (
        Fault(headers={"Content-Range": f"bytes 5-99/{SIZE + 1}"}),
        "changed on the server",
    ),
    "a range past the end": (
        Fault(status=416, headers={"Content-Range": "bytes */3"}),
        "changed on the server",
    ),
    "compressed bytes": (Fault(headers={"Content-Encoding": "gzip"}), "gzip"),
    "401": (Fault(on="GET /org", status=401), "did not serve"),
    "403": (Fault(on="GET /org", status=403), "did not serve"),
    "404 without the Hub's word": (Fault(status=404), "did not serve"),
}


@pytest.mark.parametrize(("fault", "message"), NAMED.values(), ids=NAMED)
def test_named(hub: Hub, source: HubSource, fault: Fault, message: str) -> None:
    hub.faults.append(replace(fault))
    with pytest.raises(HubError, match=message.replace("*", ".")) as caught:
        source.read(SHARD, 5, SIZE)
    assert "org/name" in str(caught.value)


def test_giving_up_says_how_far_it_came(hub: Hub, source: HubSource) -> None:
    hub.faults += [Fault(cut=1000), Fault(status=503, times=99)]
    with pytest.raises(HubError) as caught:
        source.read(SHARD, 5, 2005)
    assert caught.value.where == f"org/name/{SHARD}"
    assert "status 503 Service Unavailable" in str(caught.value)
    assert "cdn" not in str(caught.value)
    assert "1,000 bytes from byte 5 on; expected 2,000 bytes" in str(caught.value)
    assert "again" in caught.value.hint


def test_attempts_are_bounded(hub: Hub, source: HubSource) -> None:
    hub.faults.append(Fault(status=503, times=99))
    with pytest.raises(HubError):
        source.read(SHARD, 0, 10)
    assert len(hub.gets()) == retry.ATTEMPTS


def test_file_replaced_between_two_requests_is_named(
    hub: Hub, source: HubSource
) -> None:
    source.read(SHARD, 0, 10)
    (hub.folder / SHARD).write_bytes(DATA[::-1])
    with pytest.raises(HubError, match="changed on the server"):
        source.read(SHARD, 10, 20)


def test_file_replaced_in_the_middle_of_a_read_is_named(
    hub: Hub, source: HubSource
) -> None:
    hub.faults += [
        Fault(cut=1000),
        Fault(on="GET /org", skip=1, headers={"X-Linked-Etag": '"other"'}),
    ]
    with pytest.raises(HubError, match="ETag"):
        source.read(SHARD, 0, SIZE)


def test_tag_of_a_server_without_the_hubs_own_is_watched(
    hub: Hub, source: HubSource
) -> None:
    hub.faults += [
        Fault(on="GET /org", times=9, headers={"X-Linked-Etag": ""}),
        Fault(skip=1, headers={"ETag": '"other"'}),
    ]
    source.read(SHARD, 0, 10)
    with pytest.raises(HubError, match="ETag"):
        source.read(SHARD, 10, 20)


def test_file_cut_short_on_the_server_is_named(hub: Hub, source: HubSource) -> None:
    source.size(SHARD)
    (hub.folder / SHARD).write_bytes(DATA[:50])
    with pytest.raises(HubError, match="changed on the server"):
        source.read(SHARD, 40, 60)
    with pytest.raises(HubError, match="changed on the server"):
        source.read(SHARD, 60, 70)


def test_whole_file_in_place_of_a_range_is_not_read(
    hub: Hub, source: HubSource
) -> None:
    hub.ranges = False
    with pytest.raises(HubError, match="expected status 206"):
        source.read(SHARD, 0, 10)
    assert source.bytes_read == 0


def test_missing_file_is_named(source: HubSource) -> None:
    with pytest.raises(MissingShard, match=r"no other\.safetensors"):
        source.read("other.safetensors", 0, 10)


def test_ranges_are_fetched_at_once(hub: Hub, source: HubSource) -> None:
    hub.faults.append(Fault(times=99, speed=(1000, 0.05)))
    buffers = [bytearray(2000) for _ in range(8)]
    source.fill(
        [
            Wanted(SHARD, 100_000 * at, memoryview(buffer))
            for at, buffer in enumerate(buffers)
        ]
    )
    assert hub.most_at_once >= 4
    for at, buffer in enumerate(buffers):
        assert buffer == DATA[100_000 * at :][:2000]


def test_threads_copy_to_one_file(hub: Hub, source: HubSource, tmp_path: Path) -> None:
    step = SIZE // 10
    hub.faults += [Fault(cut=10_000, times=5), Fault(status=503, times=2)]
    with (tmp_path / "copy").open("wb") as output, ThreadPoolExecutor(4) as threads:

        def copy(start: int) -> None:
            source.copy(SHARD, start, start + step, output.fileno(), start)

        list(threads.map(copy, range(0, SIZE, step)))
    assert (tmp_path / "copy").read_bytes() == DATA
    assert source.bytes_read == SIZE


def test_failure_of_one_range_stops_the_others(hub: Hub, source: HubSource) -> None:
    hub.faults.append(Fault(status=404, times=999))
    wanted = [
        Wanted(SHARD, 10_000 * at, memoryview(bytearray(10))) for at in range(300)
    ]
    with pytest.raises(HubError):
        source.fill(wanted)
    assert len(hub.gets()) < len(wanted)


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(0, 200_000)), max_size=10)
)
def test_filled_as_from_the_folder(
    hub: Hub, source: HubSource, spans: Sequence[tuple[int, int]]
) -> None:
    def filled(fill: HubSource | FolderSource) -> list[bytearray]:
        buffers = [bytearray(min(size, SIZE - start)) for start, size in spans]
        fill.fill(
            [
                Wanted(SHARD, start, memoryview(buffer))
                for (start, _), buffer in zip(spans, buffers, strict=True)
            ]
        )
        return buffers

    assert filled(source) == filled(FolderSource(hub.folder))
