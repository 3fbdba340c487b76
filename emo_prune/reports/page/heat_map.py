"""Layers by experts: which stay, and how much they are used where that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emo_prune.reports.page.markup import Markup, tag
from emo_prune.reports.page.picture import (
    Axis,
    Picture,
    coordinate,
    text,
    tick_label,
)

_LEFT, _ROW = 34.0, 14.0
_NARROW, _WIDE = 326.0, 896.0  # of the cells: on a phone; of many experts, elsewhere
SHADES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatRow:
    """One layer; `use` tells for each expert how much it is used, from 0 to 1."""

    layer: int
    num_experts: int
    kept: Sequence[int]
    use: Sequence[float] | None = None


def heat_map(name: str, title: str, rows: Sequence[HeatRow], words: str) -> Picture:
    """Return a cell for each expert of each layer, kept ones in colour.

    Where `use` is known it gives the shade, of dropped ones in grey.
    """
    experts = max(row.num_experts for row in rows)
    width = _NARROW if experts <= 64 else _WIDE
    cell = width / experts
    shapes = [
        shape for place, row in enumerate(rows) for shape in _row(row, place, cell)
    ]
    bottom = _ROW * len(rows) + 13
    axis = Axis(-0.5, experts - 0.5, _LEFT, _LEFT + width)
    shapes += [
        text(axis.place(tick), bottom, tick_label(tick), anchor="middle")
        for tick in axis.ticks(8)
        if tick == int(tick)
    ]
    return Picture(
        name=name,
        title=title,
        width=_LEFT + width,
        height=bottom + 5,
        shapes=shapes,
        kind="map" if experts <= 64 else "map wide",
        words=words,
    )


def _row(row: HeatRow, place: int, cell: float) -> list[Markup]:
    top = _ROW * place
    width = cell * row.num_experts
    shapes = [
        text(_LEFT - 5, top + 10, row.layer, anchor="end"),
        tag("rect", x=_LEFT, y=top, width=coordinate(width), height=_ROW - 1,
            class_="gone"),
    ]  # fmt: skip
    for kind, experts in _shaded(row).items():
        cells = "".join(_cell(expert, top, cell) for expert in experts)
        shapes.append(tag("path", d=cells, class_=kind))
    return shapes


def _shaded(row: HeatRow) -> Mapping[str, list[int]]:
    """Return experts by the class of their cell."""
    if row.use is None:
        return {f"kept{SHADES}": list(row.kept)}
    kept = set(row.kept)
    found: dict[str, list[int]] = {}
    for expert, use in enumerate(row.use):
        shade = min(SHADES, 1 + int(SHADES * use))
        kind = f"{'kept' if expert in kept else 'left'}{shade}"
        found.setdefault(kind, []).append(expert)
    return dict(sorted(found.items()))


def _cell(expert: int, top: float, cell: float) -> str:
    gap = min(1.0, cell / 6)
    left, wide = coordinate(_LEFT + expert * cell), coordinate(cell - gap)
    return f"M{left} {coordinate(top)}h{wide}v{_ROW - 1:g}h-{wide}z"
