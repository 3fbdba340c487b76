"""Find the artifacts of a file or a folder, and know them by their schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_prune.errors import ReportError
from emo_prune.exports import RECORD
from emo_prune.files import sha256_bytes, strict_json
from emo_prune.places import CARVING
from emo_prune.reports.page import questions, samples, scores

_PREFIX = "emo-prune/"
_RECORDS = (RECORD, CARVING)  # of a checkpoint, inside it
_DEPTH = 2  # emo-prune-out/<task>/checkpoint/
_GIANT = 1e100
_UNFINISHED = (".partial", ".replaced", ".resume", ".run", ".state")
_LINES = f"*{samples.FILES}"

Known = tuple[str | None, Any]  # a schema and its value


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A JSON document of this program.

    name: its path below what was asked for. sha256: of the file's bytes.
    """

    name: str
    schema: str
    value: Mapping[str, Any]
    sha256: str

    def inner(self, value: Any, what: str) -> Artifact | None:
        """Return a part of this one as an artifact, if it is one."""
        schema = _schema(value)
        if schema is None:
            return None
        name = f"{self.name}, {what}"
        return Artifact(name=name, schema=schema, value=value, sha256=self.sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All artifacts of a file or folder, by name, and what it is called."""

    name: str
    artifacts: tuple[Artifact, ...]


def find_artifacts(
    path: Path, flipped: Path | None = None, asked: Path | None = None
) -> Found:
    """Read a JSON file, a checkpoint's records, or every artifact below a folder.

    flipped: a file of `eval --samples`, beside those that lie in the same folder.
    asked: the file of examples that was scored.

    Raises:
        ReportError: there is none, or a file is not JSON.
        BadExamples: `asked` is no file of examples.
    """
    if is_checkpoint(path):
        files = list(_records(path)) or [path / RECORD]
    elif path.is_dir():
        files = sorted(_files(path, _DEPTH))
    else:
        files = [path, *sorted(filter(samples.is_samples, path.parent.glob(_LINES)))]
    root = path if path.is_dir() else path.parent
    read = [
        _read(file, file.relative_to(root).as_posix(), _by_its_name) for file in files
    ]
    if flipped is not None:
        read.append(_read(flipped, flipped.name, _flips))
    if asked is not None:
        read.append(_read(asked, asked.name, _questions))
    artifacts = tuple(artifact for artifact in read if artifact is not None)
    if not artifacts:
        raise ReportError(
            "there is nothing to report on",
            where=path,
            got=f"{len(files)} JSON files, none of this program",
            expected="selection.json, results.json, a checkpoint with "
            f"{RECORD} or {CARVING}, or a folder of these",
            hint="run `emo-prune select` or `emo-prune eval` first",
        )
    return Found(name=path.resolve().name, artifacts=artifacts)


def is_checkpoint(path: Path) -> bool:
    """Tell whether a folder has a config, and weights or a record beside it."""
    known = any(_records(path)) or any(path.glob("model*.safetensors"))
    return known and (path / "config.json").is_file()


def _records(checkpoint: Path) -> Iterator[Path]:
    yield from (file for name in _RECORDS if (file := checkpoint / name).is_file())


def _files(folder: Path, depth: int) -> Iterator[Path]:
    if is_checkpoint(folder):
        yield from _records(folder)
        return
    for path in folder.iterdir():
        if path.is_file() and _is_ours(path):
            yield path
        elif depth and path.is_dir() and not path.name.endswith(_UNFINISHED):
            yield from _files(path, depth - 1)


def _is_ours(file: Path) -> bool:
    """Tell whether a file may hold an artifact: of JSONL only the flipped questions."""
    if file.name.endswith(samples.FILES):
        return samples.is_samples(file)
    return file.name.endswith((".json", *scores.FILES))


def _read(
    file: Path, name: str, read: Callable[[Path, bytes], Known]
) -> Artifact | None:
    """Return the artifact in a file; None if it is JSON of something else."""
    try:
        data = file.read_bytes()
        schema, value = read(file, data)
    except (OSError, ValueError) as error:
        missing = isinstance(error, OSError)
        raise ReportError(
            "this file cannot be read" if missing else "this file is not valid JSON",
            where=file,
            got=(error.strerror if isinstance(error, OSError) else None) or error,
            expected="JSON that a command of this program wrote",
            hint="give what select, eval or sweep wrote, a checkpoint, or a folder",
        ) from None
    if schema is None:
        return None
    return Artifact(name=name, schema=schema, value=value, sha256=sha256_bytes(data))


def _by_its_name(file: Path, data: bytes) -> Known:
    if file.name.endswith(scores.FILES):
        return scores.SCHEMA, scores.scores_value(file)
    if file.name.endswith(samples.FILES):
        return _flips(file, data)
    value = strict_json(data)
    _refuse_giants(value)
    return _schema(value), value


def _flips(file: Path, data: bytes) -> Known:
    del file
    return samples.SCHEMA, samples.samples_value(data)


def _questions(file: Path, data: bytes) -> Known:
    del data
    return questions.SCHEMA, questions.questions_value(file)


def _schema(value: Any) -> str | None:
    schema = value.get("schema") if isinstance(value, dict) else None
    ours = isinstance(schema, str) and schema.startswith(_PREFIX)
    return str(schema) if ours else None


def _refuse_giants(value: Any) -> None:
    """Raise `ValueError` for a number that cannot be drawn."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict | list):
            waiting.extend(one.values() if isinstance(one, dict) else one)
        elif isinstance(one, int | float) and abs(one) >= _GIANT:
            raise ValueError("a number is too large")
