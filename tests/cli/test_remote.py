"""From the Hub only what is needed is moved; here the Hub is a loopback server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.extraction import extracted, snapshot, two_steps
from tests.hub_server import Fault, Hub, point_at, serving
from tests.tiny_models import save_tiny


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A larger tiny model on the Hub: 32 experts, most of its bytes."""
    folder = save_tiny(
        tmp_path / "model", "emo", num_experts=32, hidden_size=64, intermediate_size=256
    )
    with serving(folder) as hub:
        point_at(hub.url, monkeypatch, tmp_path / "hub-cache")
        monkeypatch.setattr("emo_prune.checkpoint.retry.FIRST_DELAY", 0.01)
        yield hub


def headers_of(hub: Hub) -> int:
    """Bytes of the shards' headers."""
    total = 0
    for shard in hub.folder.glob("*.safetensors"):
        with shard.open("rb") as file:
            total += 8 + int.from_bytes(file.read(8), "little")
    return total


def test_from_the_hub_little_more_than_the_result_is_moved(
    run: Run, texts: Path, hub: Hub
) -> None:
    local = extracted(run, hub.folder, texts, "--keep", "4")
    hub.shard_bytes = hub.other_bytes = 0
    done = run(
        "extract", "-m", "org/name", "--remote", "--examples", texts, "-k", "4",
        "-o", "remote/checkpoint", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    written = done.json["bytes_written"]
    assert hub.shard_bytes + hub.other_bytes < 1.1 * written + headers_of(hub)
    assert hub.shard_bytes < sum(f.stat().st_size for f in hub.folder.iterdir()) / 3
    for file in ("model.safetensors", "config.json", "tokenizer.json"):
        one, other = Path("one/checkpoint") / file, Path("remote/checkpoint") / file
        assert one.read_bytes() == other.read_bytes()
    assert local["outputs"][0]["num_experts"] == 4
    assert run("verify", "remote/checkpoint", "--source", hub.folder).code == 0


def test_faults_on_the_way_change_nothing(run: Run, texts: Path, hub: Hub) -> None:
    command = ("extract", "-m", "org/name", "--remote", "--examples", texts, "-k", "4")
    assert run(*command, "-o", "sound/checkpoint").code == 0
    hub.faults += [
        Fault(status=503, times=2, skip=3),
        Fault(cut=1000, times=3, skip=6),
        Fault(status=429, headers={"Retry-After": "0"}, skip=9),
        Fault(hang_up=True, skip=11),
    ]
    done = run(*command, "-o", "faulty/checkpoint")
    assert done.code == 0, done.err
    assert snapshot(Path("sound")) == snapshot(Path("faulty"))


def test_a_fault_that_stays_is_named_and_the_run_goes_on_later(
    run: Run, texts: Path, hub: Hub
) -> None:
    command = ("extract", "-m", "org/name", "--remote", "--examples", texts, "-k", "4")
    assert run(*command, "-o", "sound/checkpoint").code == 0
    asked = len(hub.gets()) // 2
    hub.faults.append(Fault(status=503, times=10_000, skip=asked - 3))
    done = run(*command, "-o", "faulty/checkpoint")
    assert done.code == 1
    assert "Traceback" not in done.err
    assert not Path("faulty/checkpoint").exists()
    hub.faults.clear()
    again = "--resume" if "resume goes on" in done.err else "--force"
    done = run(*command, "-o", "faulty/checkpoint", again)
    assert done.code == 0, done.err
    assert snapshot(Path("sound")) == snapshot(Path("faulty"))


def test_a_second_task_pays_for_its_own_experts_alone(
    run: Run, texts: Path, hub: Hub
) -> None:
    flags = ("--remote", "--cache", "ranges", "--keep", "4")
    first = ("extract", "-m", "org/name", *flags, "--examples", texts)
    assert run(*first).code == 0
    moved = hub.shard_bytes
    hub.shard_bytes = 0
    assert run(*first, "--force").code == 0
    assert hub.shard_bytes == 0
    assert (
        run("extract", "-m", "org/name", *flags, "--examples", "other.jsonl").code == 0
    )
    assert 0 < hub.shard_bytes < moved


def test_export_and_inspect_read_the_hub_where_it_is(
    run: Run, texts: Path, hub: Hub
) -> None:
    two_steps(run, hub.folder, texts, "--keep", "4")
    hub.shard_bytes = 0
    inspected = run("inspect", "org/name", "--remote", "--json")
    assert inspected.code == 0, inspected.err
    assert hub.shard_bytes <= headers_of(hub)
    done = run(
        "export", "--remote", "-m", "org/name", "-s", "two/selection.json",
        "-o", "remote",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert snapshot(Path("remote")) == snapshot(Path("two/checkpoint"))
    assert hub.shard_bytes < 1.2 * sum(
        path.stat().st_size for path in Path("remote").iterdir()
    )
