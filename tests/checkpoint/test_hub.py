"""A checkpoint on the Hub is read by its headers; here the Hub is a loopback server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from emo_prune.architectures import describe, fingerprint
from emo_prune.checkpoint import Checkpoint, open_checkpoint, retry
from emo_prune.errors import HeaderError, HubError, MissingShard, NotACheckpoint
from tests.hub_server import COMMIT, Hub, point_at, serving
from tests.tiny_checkpoints import moe_blobs, write_checkpoint

BIG = {"up_proj.weight": ("BF16", 500, 40)}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    blobs = moe_blobs(BIG)
    folder = write_checkpoint(tmp_path / "model", blobs=blobs, shards=2)
    with serving(folder) as hub:
        point_at(hub.url, monkeypatch, tmp_path / "hub-cache")
        yield hub


def table(checkpoint: Checkpoint) -> dict[str, object]:
    return {
        name: (tensor.dtype, tensor.shape, checkpoint.read(tensor))
        for name, tensor in checkpoint.tensors.items()
    }


def test_same_checkpoint_as_the_folder(hub: Hub) -> None:
    remote = open_checkpoint("org/name")
    local = open_checkpoint(str(hub.folder))
    assert (remote.name, remote.revision) == ("org/name", COMMIT)
    assert remote.config == local.config
    assert table(remote) == table(local)
    assert fingerprint(describe(remote)) == fingerprint(describe(local))


def test_only_headers_are_read(hub: Hub) -> None:
    checkpoint = open_checkpoint("org/name")
    assert hub.bytes_served < checkpoint.num_bytes / 20
    assert all(
        COMMIT in path for path in hub.asked if "model" in path and "cdn" not in path
    )


def test_copy_appends_a_range(hub: Hub, tmp_path: Path) -> None:
    remote = open_checkpoint("org/name")
    tensor = remote.tensors["model.norm.weight"]
    with (tmp_path / "copy").open("wb") as output:
        remote.source.copy(tensor.shard, tensor.start, tensor.end, output.fileno())
        remote.source.copy(tensor.shard, tensor.start, tensor.start, output.fileno())
    assert (tmp_path / "copy").read_bytes() == moe_blobs(BIG)[tensor.name][2]


@pytest.mark.parametrize(
    ("name", "revision", "hint"),
    [
        ("org/other", None, "check the id"),
        ("org/gated", None, "accept its terms"),
        ("org/name", "nowhere", "revision"),
        ("org/a..b", None, "Hub id"),
        ("org/a--b", None, "Hub id"),
    ],
)
def test_refusals_say_what_to_do(
    hub: Hub, name: str, revision: str | None, hint: str
) -> None:
    with pytest.raises(HubError) as caught:
        open_checkpoint(name, revision)
    assert hint in caught.value.hint
    assert name in str(caught.value)


def test_repository_without_a_config_is_not_a_checkpoint(hub: Hub) -> None:
    (hub.folder / "config.json").unlink()
    with pytest.raises(NotACheckpoint, match=r"no config.json"):
        open_checkpoint("org/name")


def test_repository_without_weights_is_not_a_checkpoint(hub: Hub) -> None:
    for file in hub.folder.glob("*.safetensors*"):
        file.unlink()
    with pytest.raises(NotACheckpoint, match="no safetensors files"):
        open_checkpoint("org/name")


def test_shards_without_their_index_are_no_checkpoint(hub: Hub) -> None:
    (hub.folder / "model.safetensors.index.json").unlink()
    with pytest.raises(NotACheckpoint, match=r"index .* is missing.* 2 of them"):
        open_checkpoint("org/name")


def test_missing_shard_is_named(hub: Hub) -> None:
    (hub.folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(MissingShard, match="model-00002-of-00002"):
        open_checkpoint("org/name")


def test_cut_shard_is_named(hub: Hub) -> None:
    shard = hub.folder / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(HeaderError, match="cut short"):
        open_checkpoint("org/name")


def test_server_without_ranges_is_not_asked_for_the_whole(hub: Hub) -> None:
    hub.ranges = False
    with pytest.raises(HubError, match="206"):
        open_checkpoint("org/name")


def test_server_without_sizes_is_named(hub: Hub) -> None:
    hub.sizes = False
    with pytest.raises(HubError, match="no size"):
        open_checkpoint("org/name")


def test_no_network_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at("http://127.0.0.1:9", monkeypatch, tmp_path / "hub-cache")
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.001)
    with pytest.raises(HubError) as caught:
        open_checkpoint("org/name")
    assert "HF_ENDPOINT" in caught.value.hint


def test_offline_mode_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()
    with pytest.raises(HubError) as caught:
        open_checkpoint("org/name")
    assert "local folder" in caught.value.hint
    close_session()


def test_offline_a_hub_id_is_read_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "hub" / "models--org--cached"
    snapshot = write_checkpoint(repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    opened = open_checkpoint("org/cached")
    assert (opened.name, opened.revision) == ("org/cached", COMMIT)
    assert opened.tensors == open_checkpoint(str(snapshot)).tensors
    with pytest.raises(HubError):
        open_checkpoint("org/never-seen")
