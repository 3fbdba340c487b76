"""How far a sweep has come, and how long the rest will take."""

from __future__ import annotations

from emo_prune.progress import Progress


class Pace:
    """Tells of each cell that is done; the rest is taken to go as fast."""

    def __init__(self, progress: Progress, num_cells: int, num_documents: int) -> None:
        self._watcher = progress
        self._cells = num_cells
        self._documents = num_documents
        self.done = 0
        self._scored = 0
        self._seconds = 0.0
        if num_cells:
            progress.say(
                f"{num_cells} cells to score, {num_documents:,} documents in all"
            )

    def tell(self, title: str, num_documents: int, seconds: float) -> None:
        """Say that a cell is done, and what is left.

        seconds: what it took; where several are scored at once, its share of that.
        """
        self._seconds += seconds
        self.done += 1
        self._scored += num_documents
        left = self._seconds / self._scored * (self._documents - self._scored)
        text = f"{title}: {self.done} of {self._cells} cells"
        if self.done < self._cells:
            text += f", about {_duration(left)} left"
        self._watcher.say(text)


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
