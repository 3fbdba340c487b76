"""A checkpoint on the Hub: its headers by range request, or all of it in the cache."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emo_prune.checkpoint.source import Wanted, write_at
from emo_prune.errors import HubError, MissingShard, NotACheckpoint

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+|[\w-][\w.-]*")
_WHOLE = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.md", "*.py",
          "LICENSE*")  # fmt: skip
_SECOND_COPIES = ("consolidated*", "original/*")  # the same weights, in other layouts


def looks_like_hub_id(model: str) -> bool:
    """Tell whether a name could be `organisation/name` rather than a path."""
    return bool(_HUB_ID.fullmatch(model)) and not model.startswith((".", "/"))


def local_folder(model: str, revision: str | None = None) -> Path:
    """Return a local folder with the whole checkpoint, downloading a Hub id first.

    Raises:
        NotACheckpoint: it is neither a folder nor a Hub id.
        HubError: the Hub cannot be reached, or refuses.
    """
    folder = Path(model)
    if folder.is_dir():
        return folder
    if folder.exists() or not looks_like_hub_id(model):
        raise no_folder(model)
    from huggingface_hub import snapshot_download

    with _Named(model):
        return Path(
            snapshot_download(
                model,
                revision=revision,
                allow_patterns=list(_WHOLE),
                ignore_patterns=list(_SECOND_COPIES),
            )
        )


def no_folder(model: str) -> NotACheckpoint:
    """Return the error for a model that is neither a folder nor a Hub id."""
    return NotACheckpoint(
        "there is no checkpoint folder",
        where=model,
        got="a file" if Path(model).exists() else "nothing",
        expected="a folder with config.json and model*.safetensors, or a Hub id",
        hint="check --model; a Hub id looks like allenai/Emo_1b14b_1T",
    )


def cached_folder(model: str, revision: str | None = None) -> Path | None:
    """Return a Hub id's folder in the local cache, if the Hub may not be asked.

    That is so where HF_HUB_OFFLINE is set; otherwise, or without a cached copy, None.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if not constants.HF_HUB_OFFLINE:
        return None
    with _Named(model):
        try:
            return Path(snapshot_download(model, revision=revision))
        except LocalEntryNotFoundError:
            return None


class HubSource:
    """Files of a Hub repository, read by HTTP range; one commit, fixed at the start."""

    def __init__(self, repository: str, revision: str | None = None) -> None:
        self.repository = repository
        self.revision = revision
        self.bytes_read = 0
        self._sizes: dict[str, int] = {}
        # The first answer tells the commit; later ones then cannot be of another.
        self.size("config.json")

    def size(self, file: str) -> int:
        """Return the size of a file in bytes; raise `MissingShard` without it."""
        if file not in self._sizes:
            from huggingface_hub import get_hf_file_metadata

            with _Named(self.repository, file):
                found = get_hf_file_metadata(self._url(file), retry_on_errors=True)
            if found.size is None:
                raise self._odd(file, "no size", "the size of the file")
            self.revision = found.commit_hash or self.revision
            self._sizes[file] = found.size
        return self._sizes[file]

    def read(self, file: str, start: int, end: int) -> bytes:
        """Return bytes [start, end) of a file by one range request."""
        from huggingface_hub.utils import build_hf_headers, http_stream_backoff

        if start == end:
            return b""
        headers = {**build_hf_headers(), "Range": f"bytes={start}-{end - 1}"}
        headers["Accept-Encoding"] = "identity"
        with (
            _Named(self.repository, file),
            http_stream_backoff(
                "GET", self._url(file), headers=headers, follow_redirects=True
            ) as answer,
        ):
            answer.raise_for_status()
            if answer.status_code != 206 and (start, end) != (0, self.size(file)):
                # Not read: it may be the whole of a file larger than the memory.
                raise self._odd(file, f"status {answer.status_code}", "status 206")
            body = bytes(answer.read())
        if len(body) != end - start:
            raise self._odd(file, f"{len(body):,} bytes", f"{end - start:,}")
        self.bytes_read += len(body)
        return body

    def fill(self, wanted: Sequence[Wanted]) -> None:
        """Fill buffers, one range request each."""
        for file, start, buffer in wanted:
            buffer[:] = self.read(file, start, start + len(buffer))

    def copy(self, file: str, start: int, end: int, output: int, at: int = 0) -> None:
        """Write bytes [start, end) of a file to a descriptor, at a position of it."""
        write_at(output, self.read(file, start, end), at)

    def files(self) -> tuple[str, ...]:
        """Return the relative names of all files, sorted."""
        from huggingface_hub import HfApi

        with _Named(self.repository):
            names = HfApi().list_repo_files(self.repository, revision=self.revision)
        return tuple(sorted(names))

    def _url(self, file: str) -> str:
        from huggingface_hub import hf_hub_url

        return str(hf_hub_url(self.repository, file, revision=self.revision))

    def _odd(self, file: str, got: str, expected: str) -> HubError:
        return HubError(
            "the server does not answer as the Hub does",
            where=f"{self.repository}/{file}",
            got=got,
            expected=expected,
            hint="try again, or download the checkpoint and give its folder",
        )


class _Named:
    """Turns the Hub client's exceptions into errors that say what to do."""

    def __init__(self, repository: str, file: str | None = None) -> None:
        self._repository = repository
        self._file = file

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, Exception):
            return
        from huggingface_hub import errors as hub
        from huggingface_hub.utils import HfHubHTTPError

        if isinstance(error, hub.EntryNotFoundError) and self._file:
            raise MissingShard(
                "a file of the checkpoint is missing",
                where=self._repository,
                got=f"no {self._file}",
                hint="check the id and the revision",
            ) from None
        if isinstance(error, hub.GatedRepoError):
            hint = "accept its terms on the Hub, then run `hf auth login`"
        elif isinstance(error, hub.RepositoryNotFoundError):
            hint = "check the id; for a local folder, check the path"
        elif isinstance(error, hub.RevisionNotFoundError):
            hint = "check --revision"
        elif isinstance(error, hub.HFValidationError):
            hint = "check --model; a Hub id looks like allenai/Emo_1b14b_1T"
        elif isinstance(error, HfHubHTTPError | OSError) or _is_transport(error):
            hint = "check the network and HF_ENDPOINT, or give a local folder"
        else:
            return
        raise HubError(
            "there is no such local folder, and the Hub did not serve it",
            where=self._repository,
            got=str(error).strip().split("\n")[0] or type(error).__name__,
            hint=hint,
        ) from None


def _is_transport(error: Exception) -> bool:
    """Tell whether an exception is the HTTP client's own (httpx, by whatever name)."""
    return type(error).__module__.split(".")[0].startswith("http")
