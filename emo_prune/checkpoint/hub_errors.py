"""The Hub client's exceptions, as errors that say what to do."""

from __future__ import annotations

from typing import Any

from emo_prune.errors import HubError, MissingShard


class Named:
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

        gone = isinstance(error, hub.EntryNotFoundError)
        if gone and self._file and not isinstance(error, hub.LocalEntryNotFoundError):
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
            hint = "check the name; a Hub id looks like allenai/Emo_1b14b_1T"
        elif isinstance(error, HfHubHTTPError | OSError | hub.HTTPError):
            hint = "check the network and HF_ENDPOINT, or give a local folder"
        else:
            return
        raise HubError(
            "the Hub did not serve the checkpoint",
            where=self._repository,
            got=str(error).strip().split("\n")[0] or type(error).__name__,
            hint=hint,
        ) from None


def odd_answer(repository: str, file: str, got: str, expected: str) -> HubError:
    """Return the error for a server that breaks the rules of HTTP or of the Hub."""
    return HubError(
        "the server does not answer as the Hub does",
        where=f"{repository}/{file}",
        got=got,
        expected=expected,
        hint="try again, or download the checkpoint and give its folder",
    )


def changed(repository: str, file: str, got: str, expected: str) -> HubError:
    """Return the error for a file of which two answers tell different things."""
    return HubError(
        "the file changed on the server while it was read",
        where=f"{repository}/{file}",
        got=got,
        expected=expected,
        hint="run the same command again; name a commit with --revision",
    )
