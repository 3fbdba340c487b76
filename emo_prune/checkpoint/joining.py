"""Which requests to make for many small and large byte ranges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from emo_prune.checkpoint.source import Wanted

PIECE = 16 * 1024 * 1024  # at most this much in one request
_AS_MUCH_AS_A_REQUEST = 4 * 1024  # its headers, a redirect with a signed address
_LARGEST_GAP = 64 * 1024
_WASTE = 32  # a gap may be one part in so many of what it joins


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
