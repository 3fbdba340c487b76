"""Checkpoints on the Hub: names, the client's cache, files read where they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from emo_prune.checkpoint.range_cache import RangeCache
from emo_prune.checkpoint.ranges import PIECE, Piece, RangeReader, plan
from emo_prune.checkpoint.retry import named, odd_answer, patiently, quietly
from emo_prune.checkpoint.source import (
    ByteSource,
    FolderSource,
    Wanted,
    is_inside,
    several,
    write_at,
)
from emo_prune.errors import ExportError, NotACheckpoint
from emo_prune.places import CONFIG

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+|[\w-][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_SUPPORT = ("*.json", "*.txt", "*.model", "*.jinja", "*.md", "*.py", "LICENSE*")
_WHOLE = ("*.safetensors", *_SUPPORT)
_SECOND_COPIES = ("consolidated*", "original/*")  # the same weights, in other layouts
_THREADS = 8
_LARGEST = 2**63  # bytes of a file


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

    with named(model):
        return Path(
            snapshot_download(
                model,
                revision=revision,
                allow_patterns=list(_WHOLE),
                ignore_patterns=list(_SECOND_COPIES),
            )
        )


def of_checkpoint(names: Iterable[str]) -> tuple[str, ...]:
    """Return, sorted, those of a repository's files that `local_folder` would list."""
    from huggingface_hub.utils import filter_repo_objects

    visible = (name for name in names if not name.startswith(".") and "/." not in name)
    chosen = filter_repo_objects(
        visible, allow_patterns=list(_WHOLE), ignore_patterns=list(_SECOND_COPIES)
    )
    return tuple(sorted(chosen))


def support_folder(repository: str, revision: str | None = None) -> Path:
    """Return a local folder with all of a Hub checkpoint but its weights.

    That is what `AutoConfig` and `AutoTokenizer` read. What the Hub client's cache
    holds already is not downloaded again.

    Raises:
        HubError: the Hub cannot be reached, or refuses.
    """
    from huggingface_hub import snapshot_download

    def downloaded() -> Path:
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                allow_patterns=list(_SUPPORT),
                ignore_patterns=[*_SECOND_COPIES, "*.safetensors"],
            )
        )

    with named(repository), quietly():
        return patiently(downloaded)


def no_folder(model: str) -> NotACheckpoint:
    """Return the error for a model that is neither a folder nor a Hub id."""
    return NotACheckpoint(
        "there is no checkpoint folder",
        where=model,
        got="a file" if Path(model).exists() else "nothing",
        expected=f"a folder with {CONFIG} and model*.safetensors, or a Hub id",
        hint="check the name; a Hub id looks like allenai/Emo_1b14b_1T",
    )


def cached_folder(model: str, revision: str | None = None) -> Path | None:
    """Return a Hub id's folder in the local cache, if the Hub may not be asked.

    That is so where HF_HUB_OFFLINE is set; otherwise, or without a cached copy, None.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if not constants.HF_HUB_OFFLINE:
        return None
    with named(model):
        try:
            return Path(snapshot_download(model, revision=revision))
        except LocalEntryNotFoundError:
            return None


class HubSource(ByteSource):
    """Files of a Hub repository; one commit, fixed at the start.

    Shards are read by range, several at once, and kept in the folder `cache` if one is
    given. Every other file is downloaded whole, once, to the Hub client's own cache.
    `cache_problem` holds why nothing more is kept, if that is so.
    """

    at_once = _THREADS

    def __init__(
        self, repository: str, revision: str | None = None, cache: Path | None = None
    ) -> None:
        super().__init__()
        self.repository = repository
        self._sizes: dict[str, int] = {}
        self._files: tuple[str, ...] | None = None
        self._revision = revision
        found = self._metadata(CONFIG)
        if not _COMMIT.fullmatch(found.commit_hash or ""):  # it names folders
            told = found.commit_hash
            got = f"the commit {told!r:.60}" if told else "no commit"
            raise odd_answer(repository, CONFIG, got, "a hash in X-Repo-Commit")
        # Later answers then cannot be of another commit.
        self._revision = self.revision = str(found.commit_hash)
        self._cache = RangeCache(cache, repository, self.revision) if cache else None
        self._ranges = RangeReader(repository, self._address, self.size, self._count)

    @property
    def cache_problem(self) -> ExportError | None:
        """Why ranges are no longer kept in the cache folder; None if all is well."""
        return self._cache.problem if self._cache else None

    def size(self, file: str) -> int:
        """Return the size of a file in bytes; raise `MissingShard` without it."""
        if file not in self._sizes:
            self._metadata(file)
        return self._sizes[file]

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
            with named(name), quietly():
                names = patiently(lambda: api.list_repo_files(name, revision=commit))
            for strange in (one for one in names if not is_inside(one)):
                got = f"a file called {strange!r:.200}"
                raise odd_answer(name, "", got, "relative paths")
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

        with named(self.repository, file):
            found = patiently(lambda: get_hf_file_metadata(self._address(file)))
        if found.size is None or not 0 <= found.size < _LARGEST:
            got = "no size" if found.size is None else f"a size of {found.size}"
            raise odd_answer(self.repository, file, got, "the size of the file")
        self._sizes[file] = found.size
        return found

    def _downloaded(self, file: str) -> FolderSource:
        """Return the folder in the Hub client's cache that holds a small file."""
        from huggingface_hub import hf_hub_download, try_to_load_from_cache

        name, commit = self.repository, self.revision
        path = try_to_load_from_cache(name, file, revision=commit)
        if not isinstance(path, str):
            self.size(file)  # names a missing file, after as many attempts as it takes
            with named(name, file), quietly():
                path = patiently(lambda: hf_hub_download(name, file, revision=commit))
            self._count(Path(path).stat().st_size)
        return FolderSource(Path(path).parents[file.count("/")])

    def _address(self, file: str) -> str:
        from huggingface_hub import hf_hub_url

        return str(hf_hub_url(self.repository, file, revision=self._revision))


def _is_shard(file: str) -> bool:
    return file.endswith(".safetensors")
