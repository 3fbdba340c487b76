"""Byte ranges over HTTP: which requests to make, and each one until it is answered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from emo_prune.checkpoint.retry import (
    Patience,
    changed,
    is_passing,
    may_pass,
    named,
    odd_answer,
)
from emo_prune.checkpoint.source import Wanted
from emo_prune.errors import HubError

PIECE = 16 * 1024 * 1024  # at most this much in one request
_AS_MUCH_AS_A_REQUEST = 4 * 1024  # its headers, a redirect with a signed address
_LARGEST_GAP = 64 * 1024
_WASTE = 32  # a gap may be one part in so many of what it joins
TIMEOUT = 30.0  # seconds without a byte, or without a connection
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")


class Piece(NamedTuple):
    """Bytes [start, end) of a file, in one request, and who wants some of them."""

    file: str
    start: int
    end: int
    takers: tuple[Wanted, ...]

    def buffer(self) -> memoryview:
        """Return where to put the bytes: with the only taker, or in a new place."""
        if len(self.takers) == 1:
            _, start, buffer = self.takers[0]
            if start <= self.start and self.end <= start + len(buffer):
                return buffer[self.start - start : self.end - start]
        return memoryview(bytearray(self.end - self.start))

    def hand_out(self, data: memoryview) -> None:
        """Give the takers their bytes, unless `data` is the only taker's own memory."""
        for _, start, buffer in self.takers:
            first = max(start, self.start)
            last = min(start + len(buffer), self.end)
            part = data[first - self.start : last - self.start]
            if data.obj is not buffer.obj:
                buffer[first - start : last - start] = part


def plan(wanted: Sequence[Wanted]) -> list[Piece]:
    """Return the requests to make: neighbours joined, large ones cut.

    Ranges are joined over a gap if it is no dearer than a request, or a few percent
    of what lies on both sides.
    """
    return [piece for span in _spans(wanted) for piece in _cut(span)]


def _spans(wanted: Sequence[Wanted]) -> Iterator[Piece]:
    """Join what is close together, in order of file and position."""
    takers: list[Wanted] = []
    end = 0
    for want in sorted(wanted, key=lambda want: (want.file, want.start)):
        if not len(want.buffer):
            continue
        if takers and not _worth_joining(takers[0], end, want):
            yield Piece(takers[0].file, takers[0].start, end, tuple(takers))
            takers, end = [], 0
        takers.append(want)
        end = max(end, want.start + len(want.buffer))
    if takers:
        yield Piece(takers[0].file, takers[0].start, end, tuple(takers))


def _worth_joining(first: Wanted, end: int, following: Wanted) -> bool:
    if following.file != first.file:
        return False
    gain = (end - first.start + len(following.buffer)) // _WASTE
    allowed = max(_AS_MUCH_AS_A_REQUEST, min(_LARGEST_GAP, gain))
    return following.start - end <= allowed


def _cut(span: Piece) -> Iterator[Piece]:
    for start in range(span.start, span.end, PIECE):
        end = min(start + PIECE, span.end)
        takers = tuple(
            taker
            for taker in span.takers
            if taker.start < end and start < taker.start + len(taker.buffer)
        )
        yield Piece(span.file, start, end, takers)


class RangeReader:
    """Reads byte ranges of a repository's files into memory, from several threads.

    Each request goes to the file's own address, never to one a server redirected to:
    those are signed and run out. `address` and `size` tell of a file; `count` is told
    the bytes of each part that arrives.
    """

    def __init__(
        self,
        repository: str,
        address: Callable[[str], str],
        size: Callable[[str], int],
        count: Callable[[int], None],
    ) -> None:
        self._repository = repository
        self._address = address
        self._size = size
        self._count = count
        self._tags: dict[str, str] = {}

    def read(self, file: str, start: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes of a file from `start` on.

        A cut answer is taken up where it stopped. Failures that may pass are tried
        again, a bounded number of times without a new byte between them.

        Raises:
            HubError: the server gave up, breaks the rules, or serves another file now.
            MissingShard: there is no such file.
        """
        from huggingface_hub.errors import HTTPError

        patience = Patience()
        done = 0
        with named(self._repository, file):
            while done < len(buffer):
                before, problem = done, None
                try:
                    for part in self._parts(file, start + done, start + len(buffer)):
                        buffer[done : done + len(part)] = part
                        done += len(part)
                        self._count(len(part))
                except HTTPError as error:
                    if not may_pass(error):
                        raise
                    problem = error
                if done > before:
                    patience.reset()
                if done < len(buffer) and not patience.wait(problem):
                    raise self._gave_up(file, start, done, len(buffer), problem)

    def _parts(self, file: str, start: int, end: int) -> Iterator[bytes]:
        """Yield what one request brings; never more than was asked."""
        from huggingface_hub.utils import (
            build_hf_headers,
            get_session,
            hf_raise_for_status,
        )

        headers = {
            **build_hf_headers(),
            "Range": f"bytes={start}-{end - 1}",
            "Accept-Encoding": "identity",
        }
        with get_session().stream(
            "GET",
            self._address(file),
            headers=headers,
            follow_redirects=True,
            timeout=TIMEOUT,
        ) as answer:
            if answer.status_code == 416:
                raise self._shorter(file, answer)
            if is_passing(answer):
                answer.raise_for_status()  # without a look at its body
            hf_raise_for_status(answer)
            self._check(file, start, answer)
            for part in answer.iter_raw():
                yield part[: end - start]
                start += min(len(part), end - start)
                if start == end:  # whatever else the server may send
                    return

    def _check(self, file: str, start: int, answer: Any) -> None:
        """Refuse, before its body is read, an answer to another question."""
        status = answer.status_code
        if status != 206:  # the body may be a whole file, larger than the memory
            raise odd_answer(
                self._repository, file, f"status {status} to a range", "status 206"
            )
        encoding = answer.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise odd_answer(self._repository, file, encoding, "bytes as they are")
        told = answer.headers.get("Content-Range", "nothing")
        range_ = _CONTENT_RANGE.fullmatch(told)
        if not range_ or int(range_[1]) != start:
            expected = f"Content-Range from byte {start}"
            raise odd_answer(self._repository, file, repr(told), expected)
        if range_[3] not in ("*", str(self._size(file))):
            raise self._shorter(file, answer)
        tag = _tag(answer)
        if tag and self._tags.setdefault(file, tag) != tag:
            got, expected = f"ETag {tag}", self._tags[file]
            raise changed(self._repository, file, got, expected)

    def _shorter(self, file: str, answer: Any) -> HubError:
        got = answer.headers.get("Content-Range", f"status {answer.status_code}")
        expected = f"{self._size(file):,} bytes in all"
        return changed(self._repository, file, got, expected)

    def _gave_up(
        self, file: str, start: int, done: int, total: int, problem: Exception | None
    ) -> HubError:
        reason = "answers that end early" if problem is None else _reason(problem)
        return HubError(
            "the server stopped serving a file",
            where=f"{self._repository}/{file}",
            got=f"{reason}; {done:,} bytes from byte {start:,} on",
            expected=f"{total:,} bytes",
            hint="check the network and HF_ENDPOINT, then run the same command again",
        )


def _tag(answer: Any) -> str | None:
    """Return what identifies the file's content: the Hub's own word, or the server's.

    Two servers of one content network may give one file two tags of their own.
    """
    for step in answer.history:
        linked = step.headers.get("X-Linked-Etag")
        if linked:
            return str(linked)
    return answer.headers.get("ETag") or None


def _reason(problem: Exception) -> str:
    """Say what went wrong, without the address: it is long, signed and secret."""
    answer = getattr(problem, "response", None)
    if answer is not None:
        return f"status {answer.status_code} {answer.reason_phrase}".rstrip()
    return str(problem).strip().split("\n")[0] or type(problem).__name__
