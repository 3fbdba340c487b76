"""What lies beside artifacts and says more of them: flips, questions, expert use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import msgspec

from emo_prune.artifacts import Part, convert
from emo_prune.evaluation import Flip
from emo_prune.facts import Calibration, SourceModel
from emo_prune.files import strict_json

_LONGEST = 1_000_000  # bytes of a first line


class _Line(Part, frozen=True, kw_only=True):
    """A line of `eval --samples`: the fields of `Flip`, and of whom it is one."""

    model: str
    baseline: str
    task: str
    category: str
    document_sha256: str
    change: Literal["lost", "won"]
    answer: str | None
    baseline_answer: str | None

    @property
    def flip(self) -> Flip:
        return Flip(**{name: getattr(self, name) for name in Flip.__struct_fields__})


@dataclass(frozen=True, slots=True)
class FlippedQuestions:
    """The file of `eval --samples`: the flips of each model and its baseline."""

    flips: Mapping[tuple[str, str], Sequence[Flip]]

    @staticmethod
    def is_in(file: Path) -> bool:
        """Tell by its first line whether a JSONL file is of flipped questions."""
        try:
            with file.open("rb") as lines:
                _line(lines.readline(_LONGEST))
        except (OSError, ValueError):
            return False
        return True

    @classmethod
    def read(cls, file: Path, data: bytes) -> Self:
        """Read the lines of a file.

        Raises:
            ValueError: a line is not of a flipped question.
        """
        del file
        flips: dict[tuple[str, str], list[Flip]] = {}
        for text in data.splitlines():
            line = _line(text)
            flips.setdefault((line.model, line.baseline), []).append(line.flip)
        return cls(flips)


def _line(text: bytes) -> _Line:
    try:
        return convert(strict_json(text), _Line)
    except msgspec.ValidationError as problem:
        raise ValueError(f"this line is not a flipped question: {problem}") from None


@dataclass(frozen=True, slots=True)
class Questions:
    """A file of examples: questions and right answers, by the documents' hashes."""

    asked: Mapping[str, tuple[str, str]]

    @classmethod
    def read(cls, file: Path, data: bytes) -> Self:
        """Read a file of examples.

        Raises:
            BadExamples: it is none.
        """
        del data
        from emo_prune.tasks.examples import read_examples

        rows = read_examples(file)
        return cls({row.document_sha256: (row.context, row.completion) for row in rows})


@dataclass(frozen=True, slots=True)
class ExpertUse:
    """How often experts were picked, by the scores that lie beside a selection.

    by_layer: each expert's picks as a share of the most picked one's; experts that
    every token goes through count as much as that one.
    """

    model: SourceModel
    calibration: Calibration
    by_layer: Mapping[int, Sequence[float]]

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a scores file.

        Raises:
            BadSelection: it is damaged.
        """
        from emo_prune.selection import read_scores

        scores = read_scores(file)
        use = {}
        for layer in scores.layers:
            picks = layer.picks.sum(axis=0).tolist()
            always = set(scores.limits.obligatory.get(layer.layer, ()))
            routed = [n for expert, n in enumerate(picks) if expert not in always]
            most = max(routed, default=1) or 1
            use[layer.layer] = [
                1.0 if expert in always else n / most for expert, n in enumerate(picks)
            ]
        return cls(scores.model, scores.calibration, use)
