"""Every error a user can meet, as one tree.

    EmoPruneError                  exit code 1
    ├── SettingsError              an option, environment variable or emo-prune.toml
    ├── CheckpointError            the bytes on disk or on the Hub
    │   ├── NotACheckpoint
    │   ├── MissingShard
    │   ├── HeaderError            a safetensors header that breaks the format
    │   ├── IndexMismatch          the index and the shards disagree
    │   └── HubError
    ├── ArchitectureError          the layout of the experts
    │   ├── UnsupportedArchitecture
    │   ├── LayoutMismatch         config and tensors disagree
    │   └── BadConfig              the config contradicts itself
    ├── CarvingError               a dense model carved into experts, or back
    ├── TaskError                  tasks, examples and their data
    │   ├── UnknownTask
    │   ├── DataMissing
    │   └── BadExamples
    ├── RoutingError               what was observed makes no sense (NaN, no tokens)
    │   └── StaleRun               an interrupted run that this one cannot go on from
    ├── SelectionError             which experts stay
    │   ├── BudgetError            too few or too many experts asked for
    │   ├── BadSelection           a selection or scores file that is not valid
    │   └── FingerprintMismatch    made for another checkpoint
    ├── ExportError                writing the smaller checkpoint
    │   ├── OutputExists
    │   ├── NotEnoughDisk
    │   └── NotExact               the layout asked for cannot hold this model exactly
    ├── EvaluationError
    │   ├── CalibrationOverlap     eval would score documents select has seen
    │   └── SweepError             workers of a sweep died, or do not fit together
    ├── ReportError                an artifact that cannot be shown
    ├── PretrainingError           training a model from nothing
    │   ├── BadRecipe              sizes, lengths and rates of a training
    │   ├── BadCorpus              the documents to train on
    │   ├── BadTokenCache          the tokens kept of them
    │   ├── StaleTraining          an interrupted one that cannot be gone on from
    │   └── Diverged               the loss is not a number any more
    └── CheckFailed                exit code 3
        ├── VerificationFailed
        └── GateFailed

Each carries the facts (`what`, `where`, `got`, `expected`) and a `hint`, what to try
next. None of them knows how a parameter is written: they hold `Parameter` and
`Command`, which Python words as `keep=16` and the command line as `--keep 16`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a verb, with the value to give it; None names it alone.

    Text in capitals stands for a value of the reader's own.
    """

    name: str
    value: object = None

    def __str__(self) -> str:
        if self.value is None:
            return self.name
        return f"{self.name}={self.value!r}"


@dataclass(frozen=True, slots=True)
class Command:
    """A verb to run, with some of its parameters."""

    verb: str
    given: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        given = ", ".join(str(Parameter(*item)) for item in self.given.items())
        return f"emo_prune.{self.verb}({given})"


Wording = Callable[[Parameter | Command], str]
Text = str | Parameter | Command | tuple["Text", ...]


def worded(text: object, wording: Wording = str) -> str:
    """Return a text as one string; the parts of a tuple follow one another."""
    if isinstance(text, tuple):
        return "".join(worded(part, wording) for part in text)
    if isinstance(text, Parameter | Command):
        return wording(text)
    return str(text)


class Worded(str):
    """A text that names parameters, in Python's words; `parts` are for any other."""

    parts: tuple[Text, ...]

    def __new__(cls, *parts: Text) -> Worded:
        """Join the parts."""
        made = super().__new__(cls, worded(parts))
        made.parts = parts
        return made

    def in_words(self, wording: Wording) -> str:
        """Return the text in the words of the command line, say."""
        return worded(self.parts, wording)


class EmoPruneError(Exception):
    """An error with facts for a person: what, where, got, expected, and a hint.

    `where`, `got` and `expected` are a `Text`, or anything that says itself by `str`.
    """

    exit_code = 1

    def __init__(
        self,
        what: Text,
        *,
        where: object = None,
        got: object = None,
        expected: object = None,
        hint: Text = "",
    ) -> None:
        self.what = what
        self.where = where
        self.got = got
        self.expected = expected
        self.remedy = hint
        super().__init__(str(self))

    def __str__(self) -> str:
        return self.facts()

    @property
    def hint(self) -> str:
        """What to try, in Python's words."""
        return worded(self.remedy)

    def facts(self, wording: Wording = str) -> str:
        """Return all but the hint in one line."""
        facts = [worded(self.what, wording)]
        for label, fact in (
            ("in", self.where),
            ("got", self.got),
            ("expected", self.expected),
        ):
            if fact is not None:
                facts.append(f"{label} {worded(fact, wording)}")
        return "; ".join(facts)


class SettingsError(EmoPruneError):
    """An option, an environment variable or a settings file is wrong."""


class CheckpointError(EmoPruneError):
    """A checkpoint cannot be read as it stands."""


class NotACheckpoint(CheckpointError):
    """The path or id holds no safetensors checkpoint."""


class MissingShard(CheckpointError):
    """The index names a shard that is not there."""


class HeaderError(CheckpointError):
    """A safetensors file breaks the format, or is cut short."""


class IndexMismatch(CheckpointError):
    """The index and the shards disagree about which tensors exist, or where."""


class HubError(CheckpointError):
    """The Hub, or the network on the way to it, refused."""


class ArchitectureError(EmoPruneError):
    """The experts of a model cannot be located."""


class UnsupportedArchitecture(ArchitectureError):
    """The table of architectures has no entry for this model type."""


class LayoutMismatch(ArchitectureError):
    """The tensors are not the ones the config and the table announce."""


class BadConfig(ArchitectureError):
    """The config describes a model that cannot be built."""


class CarvingError(EmoPruneError):
    """A dense model cannot be carved into experts, or put together again."""


class TaskError(EmoPruneError):
    """A task, or its data, cannot be used."""


class UnknownTask(TaskError):
    """No task of that name."""


class DataMissing(TaskError):
    """The data of a task cannot be found."""


class BadExamples(TaskError):
    """An examples file is empty or malformed."""


class RoutingError(EmoPruneError):
    """The routing that was observed makes no sense."""


class StaleRun(RoutingError):
    """The saved state of an interrupted run is of another run, or damaged."""


class SelectionError(EmoPruneError):
    """The experts to keep cannot be chosen, or were chosen wrongly."""


class BudgetError(SelectionError):
    """The number of experts asked for is not possible."""


class BadSelection(SelectionError):
    """A selection or scores file is not valid."""


class FingerprintMismatch(SelectionError):
    """A selection was made for another checkpoint."""


class ExportError(EmoPruneError):
    """The smaller checkpoint cannot be written."""


class OutputExists(ExportError):
    """There is something already where the output should go."""


class NotEnoughDisk(ExportError):
    """The output does not fit on the disk."""


class NotExact(ExportError):
    """The layout asked for cannot hold this model exactly."""


class EvaluationError(EmoPruneError):
    """A model cannot be evaluated as asked."""


class CalibrationOverlap(EvaluationError):
    """The evaluation would score documents the experts were chosen on."""


class SweepError(EvaluationError):
    """Workers of a sweep died, or do not fit together."""


class ReportError(EmoPruneError):
    """There is nothing to show, or it is not what its schema says."""


class PretrainingError(EmoPruneError):
    """A model cannot be pretrained as asked."""


class BadRecipe(PretrainingError):
    """A recipe is unknown, incomplete, or contradicts itself."""


class BadCorpus(PretrainingError):
    """The documents to train on are missing, empty or malformed."""


class BadTokenCache(PretrainingError):
    """The tokens kept of a corpus are damaged."""


class StaleTraining(PretrainingError):
    """An interrupted training that this one cannot go on from."""


class Diverged(PretrainingError):
    """The loss is not a number any more."""


class CheckFailed(EmoPruneError):
    """A check ran and the answer is no."""

    exit_code = 3


class VerificationFailed(CheckFailed):
    """An export differs from what its source and selection say it must be."""


class GateFailed(CheckFailed):
    """A quality gate was not met; `evaluations` are all that was found before."""

    evaluations: tuple[object, ...] = ()
