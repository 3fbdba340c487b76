"""A checkpoint on the Hub is read by its headers; here the Hub is a loopback server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from emo_prune.architectures import describe, fingerprint
from emo_prune.checkpoint import Checkpoint, open_checkpoint
from emo_prune.errors import HeaderError, HubError, MissingShard, NotACheckpoint
from tests.tiny_checkpoints import moe_blobs, write_checkpoint

COMMIT = "0123456789abcdef0123456789abcdef01234567"
BIG = {"up_proj.weight": ("BF16", 500, 40)}


class Hub(ThreadingHTTPServer):
    """Serves one folder as org/name, weights through a redirect as from a CDN."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.bytes_served = 0
        self.asked: list[str] = []
        self.ranges = True
        self.sizes = True

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that hang up."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        parts = self.path.strip("/").split("/")
        if parts[0] == "cdn":
            self._send_file(self.server.folder / parts[1])
        elif parts[:2] == ["org", "gated"]:
            self._refuse(403, "GatedRepo")
        elif parts[:2] != ["org", "name"]:
            self._refuse(401, "RepoNotFound")
        elif parts[3] not in ("main", COMMIT):
            self._refuse(404, "RevisionNotFound")
        else:
            self._resolve("/".join(parts[4:]))

    def _resolve(self, name: str) -> None:
        file = self.server.folder / name
        if not file.is_file():
            self._refuse(404, "EntryNotFound")
        elif file.suffix == ".safetensors":
            linked = {"X-Linked-Size": file.stat().st_size} if self.server.sizes else {}
            # Another host, as on the Hub: the client then stops at the redirect.
            cdn = self.server.url.replace("127.0.0.1", "localhost")
            self._reply(302, {"Location": f"{cdn}/cdn/{name}", **linked})
        else:
            self._send_file(file)

    def _send_file(self, file: Path) -> None:
        data = file.read_bytes()
        wanted = self.headers.get("Range")
        if wanted and self.server.ranges:
            start, end = wanted.removeprefix("bytes=").split("-")
            part = data[int(start) : int(end) + 1]
            span = f"bytes {start}-{int(start) + len(part) - 1}/{len(data)}"
            self._reply(206, {"Content-Range": span}, part)
        else:
            self._reply(200, {}, data)

    def _refuse(self, status: int, code: str) -> None:
        self._reply(status, {"X-Error-Code": code})

    def _reply(
        self, status: int, headers: dict[str, object], body: bytes = b""
    ) -> None:
        self.send_response(status)
        common = {"X-Repo-Commit": COMMIT, "ETag": '"tag"', "Content-Length": len(body)}
        for name, value in {**common, **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            try:
                self.wfile.write(body)
            except OSError:
                return  # the client wanted no more
            self.server.bytes_served += len(body)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    blobs = moe_blobs(BIG)
    hub = Hub(write_checkpoint(tmp_path / "model", blobs=blobs, shards=2))
    thread = threading.Thread(target=hub.serve_forever, args=(0.05,))
    thread.start()
    point_at(hub.url, monkeypatch)
    yield hub
    hub.shutdown()
    thread.join()
    hub.server_close()
    close_session()


def point_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    close_session()


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
        ("org/name", "nowhere", "--revision"),
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
    (hub.folder / "model.safetensors.index.json").unlink()
    with pytest.raises(NotACheckpoint, match="no safetensors files"):
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


def test_no_network_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    point_at("http://127.0.0.1:9", monkeypatch)
    monkeypatch.setattr(huggingface_hub.utils._http.time, "sleep", lambda _: None)
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
