"""Requests are few, waste little, and bring every byte to who wants it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from emo_prune.checkpoint import Wanted
from emo_prune.checkpoint.ranges import PIECE, plan

KIB, MIB = 1024, 1024 * 1024
RANGES = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.integers(0, 200 * KIB), st.integers(0, 40 * KIB)
    ),
    max_size=12,
)


def want(start: int, size: int, file: str = "a") -> Wanted:
    return Wanted(file, start, memoryview(bytearray(size)))


def spans(*wanted: Wanted) -> list[tuple[int, int]]:
    return [(piece.start, piece.end) for piece in plan(wanted)]


def test_neighbours_are_one_request() -> None:
    assert spans(want(0, MIB), want(2 * MIB, MIB), want(MIB, MIB)) == [(0, 3 * MIB)]


def test_small_ranges_are_joined_over_what_a_request_costs() -> None:
    assert spans(want(0, KIB), want(3 * KIB, KIB)) == [(0, 4 * KIB)]
    assert len(spans(want(0, KIB), want(30 * KIB, KIB))) == 2


def test_large_ranges_are_joined_over_a_few_percent_and_no_more() -> None:
    assert len(spans(want(0, MIB), want(MIB + 60 * KIB, MIB))) == 1
    assert len(spans(want(0, MIB), want(MIB + 66 * KIB, 4 * MIB))) == 2
    assert len(spans(want(0, 100 * KIB), want(120 * KIB, 100 * KIB))) == 2


def test_ranges_of_two_files_are_not_joined() -> None:
    assert len(spans(want(0, KIB), want(KIB, KIB, "b"))) == 2


def test_large_ranges_are_cut() -> None:
    assert spans(want(5, 2 * PIECE + 1)) == [
        (5, 5 + PIECE),
        (5 + PIECE, 5 + 2 * PIECE),
        (5 + 2 * PIECE, 6 + 2 * PIECE),
    ]


def test_one_taker_gets_the_bytes_without_a_copy() -> None:
    buffer = bytearray(KIB)
    (piece,) = plan([Wanted("a", 7, memoryview(buffer))])
    assert piece.buffer().obj is buffer


@settings(deadline=None)
@given(RANGES)
def test_every_taker_gets_its_bytes(ranges: list[tuple[str, int, int]]) -> None:
    files = {"a": bytes(range(251)) * 1000, "b": bytes(range(241)) * 1000}
    wanted = [want(start, size, file) for file, start, size in ranges]
    for piece in plan(wanted):
        data = piece.buffer()
        data[:] = files[piece.file][piece.start : piece.end]
        piece.hand_out(data)
    for file, start, buffer in wanted:
        assert bytes(buffer) == files[file][start : start + len(buffer)]


@settings(deadline=None)
@given(RANGES)
def test_waste_is_bounded(ranges: list[tuple[str, int, int]]) -> None:
    wanted = [want(start, size, file) for file, start, size in ranges]
    asked = sum(len(one.buffer) for one in wanted)
    moved = sum(piece.end - piece.start for piece in plan(wanted))
    assert moved <= asked * 1.07 + 4 * KIB * len(wanted)
