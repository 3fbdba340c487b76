"""Find the artifacts of a file or a folder; what each becomes is a `Section`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Generic, TypeVar

from emo_prune import places
from emo_prune.artifacts import document_type, schema_of
from emo_prune.errors import Command, ReportError
from emo_prune.evaluation import Evaluations
from emo_prune.exports import ExportRecord
from emo_prune.files import sha256_bytes, strict_json
from emo_prune.reports.page.beside import ExpertUse, FlippedQuestions, Questions
from emo_prune.reports.page.markup import Markup, tag
from emo_prune.reports.page.picture import Picture

Value_co = TypeVar("Value_co", covariant=True)

_RECORDS = (places.RECORD, places.CARVING)  # of a checkpoint, inside it
_SCORES = (places.SCORES, f".{places.SCORES}")  # the ends of their names
_SAMPLES = ".jsonl"
_DEPTH = 2  # emo-prune-out/<task>/checkpoint/
_UNFINISHED = (".partial", ".replaced", ".resume", ".run", ".state")
_MADE_BY = "give what select, eval or sweep wrote, a checkpoint, or a folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact(Generic[Value_co]):
    """What a file holds, or a part of it.

    name: its path below what was asked for. sha256: of the file's bytes.
    """

    name: str
    value: Value_co
    sha256: str


Artifacts = Sequence[Artifact[object]]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A document of a kind that is not known here."""

    schema: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All artifacts of a file or folder, by name, and what it is called."""

    name: str
    artifacts: Artifacts


def find_artifacts(
    path: Path, flipped: Path | None = None, asked: Path | None = None
) -> Found:
    """Read a JSON file, a checkpoint's records, or every artifact below a folder.

    What an artifact holds of others (an export its selection) is found, too; of equal
    ones only the first.

    flipped: a file of `eval --samples`, beside those that lie in the same folder.
    asked: the file of examples that was scored.

    Raises:
        EmoPruneError: there is none, or a file breaks its schema.
        BadExamples: `asked` is no file of examples.
    """
    if places.is_checkpoint(path):
        files = list(_records(path)) or [path / places.RECORD]
    elif path.is_dir():
        files = sorted(_files(path, _DEPTH))
    else:
        beside = path.parent.glob(f"*{_SAMPLES}")
        files = [path, *sorted(filter(FlippedQuestions.is_in, beside))]
    root = path if path.is_dir() else path.parent
    read = [_read(file, file.relative_to(root).as_posix(), _by_name) for file in files]
    if flipped is not None:
        read.append(_read(flipped, flipped.name, FlippedQuestions.read))
    if asked is not None:
        read.append(_read(asked, asked.name, Questions.read))
    found = [artifact for artifact in read if artifact is not None]
    if not found:
        raise ReportError(
            "there is nothing to report on",
            where=path,
            got=f"{len(files)} JSON files, none of this program",
            expected="selection.json, results.json, a checkpoint with "
            f"{places.RECORD} or {places.CARVING}, or a folder of these",
            hint=("run ", Command("select"), " or ", Command("evaluate"), " first"),
        )
    for artifact in found:  # grows while it is walked
        found += [one for one in _inside(artifact) if not _is_known(one, found)]
    return Found(name=path.resolve().name, artifacts=tuple(found))


def _records(checkpoint: Path) -> Iterator[Path]:
    yield from (file for name in _RECORDS if (file := checkpoint / name).is_file())


def _files(folder: Path, depth: int) -> Iterator[Path]:
    if places.is_checkpoint(folder):
        yield from _records(folder)
        return
    for path in folder.iterdir():
        if path.is_file() and _is_ours(path):
            yield path
        elif depth and path.is_dir() and not path.name.endswith(_UNFINISHED):
            yield from _files(path, depth - 1)


def _is_ours(file: Path) -> bool:
    """Tell whether a file may hold an artifact: of JSONL only the flipped questions."""
    if file.name.endswith(_SAMPLES):
        return FlippedQuestions.is_in(file)
    return file.name.endswith((".json", *_SCORES))


def _read(
    file: Path, name: str, read: Callable[[Path, bytes], object]
) -> Artifact[object] | None:
    """Return the artifact in a file; None if it is JSON of something else."""
    try:
        data = file.read_bytes()
        value = read(file, data)
    except (OSError, ValueError) as error:
        missing = isinstance(error, OSError)
        raise ReportError(
            "this file cannot be read" if missing else "this file is not valid JSON",
            where=file,
            got=(error.strerror if isinstance(error, OSError) else None) or error,
            expected="JSON that a command of this program wrote",
            hint=_MADE_BY,
        ) from None
    if value is None:
        return None
    return Artifact(name=name, value=value, sha256=sha256_bytes(data))


def _by_name(file: Path, data: bytes) -> object:
    if file.name.endswith(_SCORES):
        return ExpertUse.read(file)
    if file.name.endswith(_SAMPLES):
        return FlippedQuestions.read(file, data)
    return _document(strict_json(data), file)


def _document(value: object, where: object) -> object:
    """Return a JSON value as its schema's type; None if it is of something else."""
    schema = schema_of(value)
    if schema is None:
        return None
    known = document_type(schema)
    return Unknown(schema) if known is None else known.from_value(value, where)


def _inside(artifact: Artifact[object]) -> Iterator[Artifact[object]]:
    value = artifact.value
    parts: dict[str, object] = {}
    if isinstance(value, ExportRecord):
        parts["its selection"] = value.selection
        parts["its source"] = _document(value.parent, artifact.name)
    elif isinstance(value, Evaluations):
        parts = {f"results {n}": one for n, one in enumerate(value.results, 1)}
    for what, part in parts.items():
        if part is not None:
            name = f"{artifact.name}, {what}"
            yield Artifact(name=name, value=part, sha256=artifact.sha256)


def _is_known(artifact: Artifact[object], found: Artifacts) -> bool:
    return any(artifact.value == other.value for other in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A titled part of the page.

    source: the name of the artifact it shows. result: what it comes to, in one
    sentence. headline: the few figures that matter most, each with its name.
    """

    title: str
    source: str
    result: str
    headline: Sequence[tuple[str, Markup]]
    body: Sequence[Markup | Picture]

    @property
    def pictures(self) -> list[Picture]:
        """Its pictures, in their order."""
        return [part for part in self.body if isinstance(part, Picture)]

    def to_html(self, anchor: str) -> Markup:
        """Return the section as HTML."""
        tiles = (
            tag("div", tag("b", value), tag("span", name), class_="tile")
            for name, value in self.headline
        )
        return tag(
            "section",
            tag("h2", self.title, " ", tag("small", self.source)),
            tag("p", unbroken(self.result), class_="result"),
            tag("div", *tiles, class_="tiles"),
            *_laid_out(self.body),
            id=anchor,
        )


def unbroken(sentence: str) -> str:
    """Return a sentence whose figures stay on the line of their unit."""
    return sentence.replace(" %", "\N{NO-BREAK SPACE}%")


def _laid_out(body: Sequence[Markup | Picture]) -> Iterator[Markup]:
    """Yield what is on the page; pictures that follow one another share a row."""
    for drawn, parts in groupby(body, lambda part: isinstance(part, Picture)):
        if drawn:
            figures = (one.to_html() for one in parts if isinstance(one, Picture))
            yield tag("div", *figures, class_="pictures")
        else:
            yield from (one for one in parts if isinstance(one, Markup))


Render = Callable[[Artifact[Any], Sequence[object]], Section]
"""Makes the section of an artifact; the second argument is what all of them hold."""
