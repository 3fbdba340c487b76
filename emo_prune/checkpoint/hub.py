"""Folders of the Hub client's cache: a whole checkpoint, or all but its weights."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from emo_prune.checkpoint.hub_errors import Named
from emo_prune.checkpoint.retry import patiently, quietly
from emo_prune.errors import NotACheckpoint

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+|[\w-][\w.-]*")
_SUPPORT = ("*.json", "*.txt", "*.model", "*.jinja", "*.md", "*.py", "LICENSE*")
_WHOLE = ("*.safetensors", *_SUPPORT)
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

    with Named(model):
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

    with Named(repository), quietly():
        return patiently(downloaded)


def no_folder(model: str) -> NotACheckpoint:
    """Return the error for a model that is neither a folder nor a Hub id."""
    return NotACheckpoint(
        "there is no checkpoint folder",
        where=model,
        got="a file" if Path(model).exists() else "nothing",
        expected="a folder with config.json and model*.safetensors, or a Hub id",
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
    with Named(model):
        try:
            return Path(snapshot_download(model, revision=revision))
        except LocalEntryNotFoundError:
            return None
