"""A Hub repository is opened by headers, and its small files are downloaded once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from emo_prune.architectures import describe, fingerprint
from emo_prune.checkpoint import (
    FolderSource,
    local_folder,
    open_checkpoint,
    open_remote,
    retry,
    support_folder,
)
from emo_prune.errors import HubError, NotACheckpoint
from tests.hub_server import COMMIT, Fault, Hub, point_at, serving
from tests.tiny_checkpoints import moe_blobs, write_checkpoint

SHARDS = 4
TOKEN = "hf_" + "secret" * 5
SMALL = {"config.json", "model.safetensors.index.json", "tokenizer.json", "README.md"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    blobs = moe_blobs({"up_proj.weight": ("BF16", 500, 40)})
    folder = write_checkpoint(tmp_path / "model", blobs=blobs, shards=SHARDS)
    (folder / "tokenizer.json").write_text('{"a": "tokenizer"}')
    (folder / "README.md").write_text("# A model")
    (folder / "original").mkdir()
    (folder / "original" / "params.json").write_text("{}")
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.001)
    with serving(folder) as hub:
        point_at(hub.url, monkeypatch, tmp_path / "hub-cache")
        yield hub


def test_same_fingerprint_as_the_folder(hub: Hub) -> None:
    remote = fingerprint(describe(open_remote("org/name")))
    assert remote == fingerprint(describe(open_checkpoint(str(hub.folder))))


def test_fingerprint_joins_its_samples(hub: Hub) -> None:
    model = describe(open_remote("org/name"))
    before = len(hub.gets())
    fingerprint(model)
    assert len(hub.gets()) - before < len(model.checkpoint.tensors) / 2


def test_opening_moves_little_more_than_headers(hub: Hub) -> None:
    checkpoint = open_remote("org/name")
    headers = sum(
        8 + int.from_bytes((hub.folder / shard).read_bytes()[:8], "little")
        for shard in checkpoint.shards
    )
    assert headers <= hub.shard_bytes <= headers + checkpoint.num_bytes / 500
    assert len(hub.gets()) <= 2 * SHARDS


def test_local_folder_of_the_same_name_is_not_read(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert open_remote("org/name").revision == COMMIT
    with pytest.raises(NotACheckpoint):
        open_checkpoint("org/name")


@pytest.mark.parametrize("name", ["./model", "/model", "a/b/c", ""])
def test_path_is_not_a_repository(name: str) -> None:
    with pytest.raises(HubError, match="not the name of a Hub repository") as caught:
        open_remote(name)
    assert "without remote" in caught.value.hint


def test_every_request_after_the_first_names_the_commit(hub: Hub) -> None:
    checkpoint = open_remote("org/name", "main")
    fingerprint(describe(checkpoint))
    checkpoint.source.files()
    first, *others = [line for line in hub.asked if "/cdn/" not in line]
    assert "/main/" in first
    assert all(COMMIT in line for line in others)


def test_server_that_names_no_commit_is_named(hub: Hub) -> None:
    hub.faults.append(Fault(on="HEAD", times=9, headers={"X-Repo-Commit": ""}))
    with pytest.raises(HubError, match="no commit"):
        open_remote("org/name")


@pytest.mark.parametrize("commit", ["../../..", "/etc", "main", COMMIT[:7]])
def test_commit_that_is_no_hash_is_named(hub: Hub, tmp_path: Path, commit: str) -> None:
    hub.faults.append(Fault(on="HEAD", times=9, headers={"X-Repo-Commit": commit}))
    with pytest.raises(HubError, match="expected a hash"):
        open_remote("org/name", cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("size", ["-5", "-1", str(2**63), "9" * 400])
def test_size_that_cannot_be_is_named(hub: Hub, size: str) -> None:
    hub.faults.append(Fault(on="safetensors", times=9, headers={"X-Linked-Size": size}))
    with pytest.raises(HubError, match="size"):
        open_remote("org/name")


def test_size_of_a_small_file_that_is_endless_is_named(hub: Hub) -> None:
    size = {"X-Linked-Size": str(10**15)}
    hub.faults.append(Fault(on="config.json", times=9, headers=size))
    with pytest.raises(NotACheckpoint, match="too large"):
        open_remote("org/name")


@pytest.mark.parametrize("name", ["/etc/x.json", "../x.json", "a/../../x.json", "a\\b"])
def test_files_that_lead_elsewhere_are_refused(hub: Hub, name: str) -> None:
    source = open_remote("org/name").source
    listing = json.dumps([{"type": "file", "path": name, "oid": "0", "size": 1}])
    hub.faults.append(Fault(on="/tree/", status=200, body=listing.encode()))
    with pytest.raises(HubError, match="relative paths"):
        source.files()


def test_token_stays_with_the_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    fingerprint(describe(open_remote("org/name")))
    assert any("resolve" in line for line in hub.tokens)
    assert not any("/cdn/" in line for line in hub.tokens)
    assert hub.gets()


def test_small_files_are_downloaded_once(hub: Hub) -> None:
    for _ in range(2):
        source = open_remote("org/name").source
        assert source.read("tokenizer.json", 0, 5) == b'{"a":'
        assert source.size("tokenizer.json") == 18
    gets = [line for line in hub.asked if line.startswith("GET /org")]
    assert sum("tokenizer.json" in line for line in gets) == 1
    assert sum("config.json" in line for line in gets) == 1


def test_small_files_survive_a_poor_network(
    hub: Hub, capfd: pytest.CaptureFixture[str]
) -> None:
    hub.faults += [
        Fault(on="HEAD /org", status=503, times=3),
        Fault(on="GET /org", status=502, times=3),
    ]
    assert open_remote("org/name").config["model_type"] == "olmoe"
    assert capfd.readouterr().err == ""


def test_files_are_those_of_the_downloaded_folder(hub: Hub) -> None:
    for name in (".gitattributes", "pytorch_model.bin", "consolidated.safetensors"):
        (hub.folder / name).write_bytes(b"not of the checkpoint")
    source = open_remote("org/name").source
    assert source.files() == FolderSource(local_folder("org/name")).files()
    assert {name for name in source.files() if "safetensors" not in name} < SMALL
    asked = len(hub.asked)
    source.files()
    assert len(hub.asked) == asked


def test_files_are_copied_whole(hub: Hub, tmp_path: Path) -> None:
    source = open_remote("org/name").source
    for name in source.files():
        with (tmp_path / "copy").open("wb") as output:
            source.copy(name, 0, source.size(name), output.fileno())
        assert (tmp_path / "copy").read_bytes() == (hub.folder / name).read_bytes()


def test_support_folder_has_everything_but_weights(hub: Hub) -> None:
    folder = support_folder("org/name", COMMIT)
    assert set(FolderSource(folder).files()) == SMALL
    assert json.loads((folder / "config.json").read_text())["model_type"] == "olmoe"
    assert hub.shard_bytes == 0


def test_support_folder_of_a_refused_repository_is_named(hub: Hub) -> None:
    with pytest.raises(HubError) as caught:
        support_folder("org/gated")
    assert "accept its terms" in caught.value.hint


def test_offline_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="offline"):
        open_remote("org/name")


def test_other_processes_are_led_to_the_server(hub: Hub) -> None:
    script = "from emo_prune.checkpoint import open_remote as o; print(o('org/name'))"
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert COMMIT in ran.stdout, ran.stderr
