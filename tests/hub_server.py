"""The Hub on loopback: one folder served as org/name, with faults where told.

    with serving(folder) as hub:
        point_at(hub.url, monkeypatch, tmp_path / "hub-cache")
        hub.faults.append(Fault(status=503))
        ...

Weights come through a redirect from another host name, as from the Hub's content
network. `point_at` leads this process and those it starts there.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import close_session

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose line contains `on`.

    `skip` requests go well first. `status` and `body` replace the answer, `headers`
    some of its headers. `cut` bytes of the body are sent before the connection is
    closed; `short` bytes are sent and announced as if they were all. `speed` is how
    many bytes are sent at a time, and the seconds between. `hang_up`: no answer.
    """

    on: str = "GET /cdn"
    times: int = 1
    skip: int = 0
    status: int = 0
    body: bytes = b"a fault"
    headers: Mapping[str, object] = field(default_factory=dict)
    cut: int | None = None
    short: int | None = None
    speed: tuple[int, float] | None = None
    hang_up: bool = False


class Hub(ThreadingHTTPServer):
    """Serves a folder as org/name at one commit, and counts what it serves.

    `asked` holds the lines of all requests and `tokens` those that bore a token;
    `most_at_once` is how many ranges were served at the same time.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.folder = folder
        self.faults: list[Fault] = []
        self.asked: list[str] = []
        self.tokens: list[str] = []
        self.shard_bytes = 0
        self.other_bytes = 0
        self.most_at_once = 0
        self.at_once = 0
        self.ranges = True
        self.sizes = True
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def bytes_served(self) -> int:
        return self.shard_bytes + self.other_bytes

    def gets(self) -> list[str]:
        """The range requests that reached the weights, in order."""
        return [line for line in self.asked if line.startswith("GET /cdn")]

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that hang up."""

    def fault(self, line: str) -> Fault:
        """Take the fault that a request meets; one without effect if there is none."""
        with self.lock:
            for fault in self.faults:
                if fault.on not in line or not fault.times:
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        return Fault()

    def count(self, *, shard: bool, num_bytes: int) -> None:
        with self.lock:
            if shard:
                self.shard_bytes += num_bytes
            else:
                self.other_bytes += num_bytes

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield
        finally:
            with self.lock:
                self.at_once -= 1


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and a small body in one packet
    fault: Fault

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        line = f"{self.command} {self.path}"
        self.server.asked.append(line)
        if "Authorization" in self.headers:
            self.server.tokens.append(line)
        self.fault = self.server.fault(line)
        parts = urlsplit(self.path).path.strip("/").split("/")
        if self.fault.hang_up:
            self.close_connection = True
        elif self.fault.status:
            self._reply(self.fault.status, {}, self.fault.body)
        elif parts[0] == "cdn":
            with self.server.busy():
                self._send_file(self.server.folder / "/".join(parts[1:]))
        elif parts[:2] == ["api", "models"]:
            self._api(parts[2:])
        else:
            self._repository(parts, lambda: self._resolve("/".join(parts[4:])), 3)

    def _repository(self, parts: list[str], answer: object, revision: int) -> None:
        if parts[:2] == ["org", "gated"]:
            self._refuse(403, "GatedRepo")
        elif parts[:2] != ["org", "name"]:
            self._refuse(401, "RepoNotFound")
        elif parts[revision] not in ("main", COMMIT):
            self._refuse(404, "RevisionNotFound")
        elif callable(answer):
            answer()

    def _api(self, parts: list[str]) -> None:
        tree = parts[2:3] == ["tree"]
        self._repository(parts, self._tree if tree else self._info, 3)

    def _info(self) -> None:
        names = [{"rfilename": name} for name in self._names()]
        self._send_json({"id": "org/name", "sha": COMMIT, "siblings": names})

    def _tree(self) -> None:
        rows = []
        for name in self._names():
            file = self.server.folder / name
            row: dict[str, object] = {
                "type": "file",
                "path": name,
                "oid": _digest(file),
            }
            row["size"] = file.stat().st_size
            if file.suffix == ".safetensors":
                row["lfs"] = {
                    "oid": _digest(file),
                    "size": row["size"],
                    "pointerSize": 1,
                }
            rows.append(row)
        self._send_json(rows)

    def _names(self) -> list[str]:
        root = self.server.folder
        files = (path for path in root.rglob("*") if path.is_file())
        return sorted(path.relative_to(root).as_posix() for path in files)

    def _send_json(self, value: object) -> None:
        self._reply(
            200, {"Content-Type": "application/json"}, json.dumps(value).encode()
        )

    def _resolve(self, name: str) -> None:
        file = self.server.folder / name
        if not file.is_file():
            self._refuse(404, "EntryNotFound")
        elif file.suffix == ".safetensors":
            headers: dict[str, object] = {"X-Linked-Etag": f'"{_digest(file)}"'}
            if self.server.sizes:
                headers["X-Linked-Size"] = file.stat().st_size
            # Another host, as on the Hub: the client then stops at the redirect.
            cdn = self.server.url.replace("127.0.0.1", "localhost")
            self._reply(302, {"Location": f"{cdn}/cdn/{name}", **headers})
        else:
            self._send_file(file)

    def _send_file(self, file: Path) -> None:
        size = file.stat().st_size
        tag = {"ETag": f'"{_digest(file)}"'}
        wanted = self.headers.get("Range")
        if not wanted or not self.server.ranges:
            self._reply(200, tag, file.read_bytes())
            return
        start, _, end = wanted.removeprefix("bytes=").partition("-")
        first, last = int(start), min(int(end or size), size - 1)
        if first >= size:
            self._reply(416, {"Content-Range": f"bytes */{size}"})
            return
        with file.open("rb") as opened:
            opened.seek(first)
            part = opened.read(last + 1 - first)
        span = f"bytes {first}-{last}/{size}"
        self._reply(206, {"Content-Range": span, **tag}, part)

    def _refuse(self, status: int, code: str) -> None:
        self._reply(status, {"X-Error-Code": code})

    def _reply(
        self, status: int, headers: Mapping[str, object], body: bytes = b""
    ) -> None:
        if self.fault.short is not None:
            body = body[: self.fault.short]
        common = {"X-Repo-Commit": COMMIT, "Content-Length": len(body)}
        self.send_response(status)
        for name, value in {**common, **headers, **self.fault.headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            with contextlib.suppress(OSError):  # the client wanted no more
                self._send(body)

    def _send(self, body: bytes) -> None:
        if self.fault.cut is not None:
            body = body[: self.fault.cut]
            self.close_connection = True
        size, pause = self.fault.speed or (64 * 1024, 0.0)
        shard = self.path.endswith(".safetensors")
        for start in range(0, len(body), size):
            part = body[start : start + size]
            # Counted first: the client may be done before this thread goes on.
            self.server.count(shard=shard, num_bytes=len(part))
            self.wfile.write(part)
            if pause:
                self.wfile.flush()
                time.sleep(pause)
        self.wfile.flush()


def _digest(file: Path) -> str:
    return _digest_of(file, file.stat().st_mtime_ns)


@functools.lru_cache
def _digest_of(file: Path, _changed: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@contextlib.contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[Hub]:
    """Serve a folder as org/name until the block ends, at any free port."""
    hub = Hub(folder, port)
    thread = threading.Thread(target=hub.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield hub
    finally:
        close_session()
        hub.shutdown()
        thread.join()
        hub.server_close()


def point_at(url: str, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Lead the Hub client to a server and an empty cache, in subprocesses too."""
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "no-token"))
    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    monkeypatch.setenv("HF_TOKEN_PATH", str(cache / "no-token"))
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    close_session()
