"""From values to places on a picture."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Axis:
    """Values from `low` to `high`, drawn from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(cls, values: Iterable[float], start: float, end: float) -> Axis:
        """Return an axis on which all values have a place, with some room around."""
        found = list(values)
        low, high = min(found), max(found)
        room = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
        return cls(low - room, high + room, start, end)

    def place(self, value: float) -> str:
        """Return where a value is drawn, as SVG writes it."""
        share = (value - self.low) / (self.high - self.low)
        return coordinate(self.start + share * (self.end - self.start))

    def ticks(self, most: int = 6) -> list[float]:
        """Return round values within the axis, `most` at most."""
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * s for s in _STEPS if power * s >= rough * (1 - 1e-9))
        first = math.ceil(self.low / step)
        last = math.floor(self.high / step)
        return [count * step for count in range(first, last + 1)]


def coordinate(value: float) -> str:
    """Return a coordinate with two places at most."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def tick_label(value: float) -> str:
    """Return a round value in as few digits as it needs."""
    return f"{value:.6g}"
