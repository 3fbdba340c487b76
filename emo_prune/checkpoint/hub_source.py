"""The files of a Hub repository, of which only what is asked for is moved."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emo_prune.checkpoint.hub import of_checkpoint
from emo_prune.checkpoint.hub_errors import Named, odd_answer
from emo_prune.checkpoint.joining import PIECE, Piece, plan
from emo_prune.checkpoint.range_cache import RangeCache
from emo_prune.checkpoint.ranges import RangeReader
from emo_prune.checkpoint.retry import patiently, quietly
from emo_prune.checkpoint.source import FolderSource, Wanted, write_at
from emo_prune.checkpoint.threads import several

_THREADS = 8


class HubSource:
    """Files of a Hub repository; one commit, fixed at the start.

    Shards are read by range, several at once, and kept in the folder `cache` if one is
    given. Every other file is downloaded whole, once, to the Hub client's own cache.
    `cache_problem` holds why nothing more is kept, if that is so.
    """

    at_once = _THREADS

    def __init__(
        self, repository: str, revision: str | None = None, cache: Path | None = None
    ) -> None:
        self.repository = repository
        self.bytes_read = 0
        self._counting = threading.Lock()
        self._sizes: dict[str, int] = {}
        self._files: tuple[str, ...] | None = None
        self._revision = revision
        found = self._metadata("config.json")
        if not found.commit_hash:
            raise odd_answer(repository, "config.json", "no commit", "X-Repo-Commit")
        # Later answers then cannot be of another commit.
        self._revision = self.revision = str(found.commit_hash)
        self._cache = RangeCache(cache, repository, self.revision) if cache else None
        self._ranges = RangeReader(repository, self._address, self.size, self._count)

    @property
    def cache_problem(self) -> OSError | None:
        """Why ranges are no longer kept in the cache folder; None if all is well."""
        return self._cache.problem if self._cache else None

    def size(self, file: str) -> int:
        """Return the size of a file in bytes; raise `MissingShard` without it."""
        if file not in self._sizes:
            self._metadata(file)
        return self._sizes[file]

    def read(self, file: str, start: int, end: int) -> bytes:
        """Return bytes [start, end) of a file."""
        buffer = bytearray(end - start)
        self.fill([Wanted(file, start, memoryview(buffer))])
        return bytes(buffer)

    def fill(self, wanted: Sequence[Wanted]) -> None:
        """Fill buffers by as few requests as are worth it, several at once.

        Raises:
            HubError: the Hub refuses, gives up, or serves another file than before.
            MissingShard: there is no such file.
        """
        shards = [want for want in wanted if _is_shard(want.file)]
        if len(shards) < len(wanted):
            for want in wanted:
                if not _is_shard(want.file):
                    self._downloaded(want.file).fill([want])
        if self._cache:
            shards = self._cache.fill(shards)
        for _ in several(self._fetch, plan(shards), _THREADS):
            pass

    def copy(self, file: str, start: int, end: int, output: int, at: int = 0) -> None:
        """Write bytes [start, end) of a file to a descriptor, at a position of it."""
        buffer = memoryview(bytearray(min(PIECE, end - start)))
        while start < end:
            part = buffer[: end - start]
            self.fill([Wanted(file, start, part)])
            write_at(output, part, at)
            start += len(part)
            at += len(part)

    def files(self) -> tuple[str, ...]:
        """Return the relative names of a checkpoint's files, sorted.

        They are those of its `local_folder`: no weights in other formats or layouts.
        """
        if self._files is None:
            from huggingface_hub import HfApi

            api, name, commit = HfApi(), self.repository, self.revision
            with Named(name), quietly():
                names = patiently(lambda: api.list_repo_files(name, revision=commit))
            self._files = of_checkpoint(names)
        return self._files

    def _fetch(self, piece: Piece) -> None:
        data = piece.buffer()
        self._ranges.read(piece.file, piece.start, data)
        piece.hand_out(data)
        if self._cache:
            self._cache.store(piece.file, piece.start, data)

    def _metadata(self, file: str) -> Any:
        """Return what the Hub says of a file, and note its size."""
        from huggingface_hub import get_hf_file_metadata

        with Named(self.repository, file):
            found = patiently(lambda: get_hf_file_metadata(self._address(file)))
        if found.size is None:
            raise odd_answer(self.repository, file, "no size", "the size of the file")
        self._sizes[file] = found.size
        return found

    def _downloaded(self, file: str) -> FolderSource:
        """Return the folder in the Hub client's cache that holds a small file."""
        from huggingface_hub import hf_hub_download, try_to_load_from_cache

        name, commit = self.repository, self.revision
        path = try_to_load_from_cache(name, file, revision=commit)
        if not isinstance(path, str):
            self.size(file)  # names a missing file, after as many attempts as it takes
            with Named(name, file), quietly():
                path = patiently(lambda: hf_hub_download(name, file, revision=commit))
            self._count(Path(path).stat().st_size)
        return FolderSource(Path(path).parents[file.count("/")])

    def _address(self, file: str) -> str:
        from huggingface_hub import hf_hub_url

        return str(hf_hub_url(self.repository, file, revision=self._revision))

    def _count(self, num_bytes: int) -> None:
        with self._counting:  # several threads may read
            self.bytes_read += num_bytes


def _is_shard(file: str) -> bool:
    return file.endswith(".safetensors")
