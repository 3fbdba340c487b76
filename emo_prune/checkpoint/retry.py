"""Failures on the way to the Hub: tried again while they may pass, else named."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from emo_prune.errors import HubError, MissingShard, Parameter, Text

ATTEMPTS = 6  # in a row, without a byte of progress
FIRST_DELAY = 0.5  # seconds; doubled after each failure
LONGEST_DELAY = 16.0
LONGEST_RETRY_AFTER = 300.0  # the Hub counts requests in windows of five minutes

_Result = TypeVar("_Result")
_RESET = re.compile(r";\s*t=(\d+)")
_quiet = threading.Lock()


class Patience:
    """Counts failures in a row and waits after each, longer every time."""

    def __init__(self) -> None:
        self._failures = 0

    def reset(self) -> None:
        """Forget the failures: there was progress."""
        self._failures = 0

    def wait(self, problem: BaseException | None) -> bool:
        """Wait until the next attempt is due; False, at once, if there is none left."""
        self._failures += 1
        if self._failures >= ATTEMPTS:
            return False
        time.sleep(self._delay(problem))
        return True

    def _delay(self, problem: BaseException | None) -> float:
        told = _told_to_wait(_headers(problem))
        if told is not None:
            return min(told, LONGEST_RETRY_AFTER)
        longest: float = min(FIRST_DELAY * 2 ** (self._failures - 1), LONGEST_DELAY)
        import random  # the failures are rare, and it is slow

        return longest * random.uniform(0.5, 1)  # or all threads come back at once


def patiently(action: Callable[[], _Result]) -> _Result:
    """Return what `action` returns, after more attempts where the failure may pass."""
    from huggingface_hub.errors import EntryNotFoundError, HTTPError

    patience = Patience()
    while True:
        try:
            return action()
        except (HTTPError, EntryNotFoundError) as error:
            # The client hides a failure behind "not in the cache either".
            cause = error if isinstance(error, HTTPError) else error.__cause__
            if not may_pass(cause) or not patience.wait(cause):
                raise


def may_pass(problem: BaseException | None) -> bool:
    """Tell whether a failure could be gone at the next attempt."""
    from huggingface_hub.errors import HTTPError

    if not isinstance(problem, HTTPError):
        return False
    answer = getattr(problem, "response", None)
    return answer is None or is_passing(answer)  # None: lost on the way


def is_passing(answer: Any) -> bool:
    """Tell whether an answer is of a trouble that passes: 429, or the server's own.

    A signed address that is refused (403 behind a redirect) has run out; the next
    attempt is given another.
    """
    status = answer.status_code
    ran_out = status == 403 and bool(answer.history)
    return bool(status in (408, 429) or status >= 500 or ran_out)


def _headers(problem: BaseException | None) -> Mapping[str, str]:
    answer = getattr(problem, "response", None)
    return {} if answer is None else answer.headers


def _told_to_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds an answer asks to wait, by Retry-After or RateLimit."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    if value:
        from datetime import UTC, datetime
        from email.utils import parsedate_to_datetime

        with contextlib.suppress(ValueError, OverflowError):
            due = parsedate_to_datetime(value)
            due = due.replace(tzinfo=due.tzinfo or UTC)
            return max(0.0, (due - datetime.now(UTC)).total_seconds())
    exhausted = re.search(r";\s*r=0\b", headers.get("RateLimit", ""))
    reset = _RESET.search(headers.get("RateLimit", "")) if exhausted else None
    return float(reset[1]) if reset else None


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep the Hub client's warnings of its own retries off stderr; one at a time."""
    import logging

    logger = logging.getLogger("huggingface_hub")
    with _quiet:
        level = logger.level
        logger.setLevel(max(level, logging.ERROR))
        try:
            yield
        finally:
            logger.setLevel(level)


@contextlib.contextmanager
def named(repository: str, file: str | None = None) -> Iterator[None]:
    """Turn the Hub client's exceptions into errors that say what to do."""
    from huggingface_hub import errors as hub

    try:
        yield
    except (
        hub.EntryNotFoundError,
        hub.HFValidationError,
        hub.HTTPError,
        OSError,
    ) as error:
        gone = isinstance(error, hub.EntryNotFoundError)
        if gone and file and not isinstance(error, hub.LocalEntryNotFoundError):
            raise MissingShard(
                "a file of the checkpoint is missing",
                where=repository,
                got=f"no {file}",
                hint="check the id and the revision",
            ) from None
        raise HubError(
            "the Hub did not serve the checkpoint",
            where=repository,
            got=str(error).strip().split("\n")[0] or type(error).__name__,
            hint=_remedy(error),
        ) from None


def _remedy(error: Exception) -> Text:
    from huggingface_hub import errors as hub

    if isinstance(error, hub.GatedRepoError):
        return "accept its terms on the Hub, then run `hf auth login`"
    if isinstance(error, hub.RepositoryNotFoundError):
        return "check the id; for a local folder, check the path"
    if isinstance(error, hub.RevisionNotFoundError):
        return ("check ", Parameter("revision"))
    if isinstance(error, hub.HFValidationError):
        return "check the name; a Hub id looks like allenai/Emo_1b14b_1T"
    return "check the network and HF_ENDPOINT, or give a local folder"


def odd_answer(repository: str, file: str, got: str, expected: str) -> HubError:
    """Return the error for a server that breaks the rules of HTTP or of the Hub."""
    return HubError(
        "the server does not answer as the Hub does",
        where=f"{repository}/{file}".rstrip("/"),
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
        hint=("run the command again; name a commit with ", Parameter("revision")),
    )
