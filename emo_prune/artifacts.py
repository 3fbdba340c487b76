"""Typed documents: what the verbs write, and read again.

A `Document` is one kind of file; its id (`schema`) says its version and stands in the
file. The types are the schema: reading checks against them, and the JSON Schemas in
`emo_prune/schemas/` are generated from them (`json_schema`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypeVar

import msgspec

from emo_prune.errors import EmoPruneError, ReportError
from emo_prune.files import readable_json, sha256_text, strict_json, write_atomically

if TYPE_CHECKING:
    from pandas import DataFrame

PREFIX = "emo-prune/"

# Where the type of each document is. A new one is a row here.
DOCUMENTS = {
    "emo-prune/carving/1": "emo_prune.carving.document:CarvingRecord",
    "emo-prune/evaluations/1": "emo_prune.evaluation.results:Evaluations",
    "emo-prune/export/1": "emo_prune.exports.record:ExportRecord",
    "emo-prune/pretrain/1": "emo_prune.pretraining.document:PretrainRecord",
    "emo-prune/restored/1": "emo_prune.carving.document:Restored",
    "emo-prune/results/1": "emo_prune.evaluation.results:Results",
    "emo-prune/run/1": "emo_prune.pretraining.document:TrainingIdentity",
    "emo-prune/selection/1": "emo_prune.selection.document:Selection",
    "emo-prune/sweep/1": "emo_prune.sweeps.document:Sweep",
    "emo-prune/token-cache/1": "emo_prune.pretraining.document:TokenCacheMeta",
}

Sha256 = Annotated[str, msgspec.Meta(pattern="^sha256:[0-9a-f]{64}$")]
Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]

PartType = TypeVar("PartType", bound="Part")


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An object within a document.

    A field that older files may lack has `msgspec.UNSET` for its default: then it is
    not written either, and a file that was read is written with the same bytes.
    """

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON value, keys in the order of the fields."""
        value: dict[str, Any] = plain(msgspec.to_builtins(self))
        return value


class _Schema:
    """The id of a document, which its type says once, as `tag`."""

    def __get__(self, _: object, owner: type[msgspec.Struct]) -> str:
        return str(owner.__struct_config__.tag)


class Document(Part, frozen=True, kw_only=True, tag_field="schema"):
    """A kind of file; `schema` is its id, and `error` what a broken one ends in."""

    schema: ClassVar[_Schema] = _Schema()
    error: ClassVar[type[EmoPruneError]] = ReportError
    made_by: ClassVar[str] = ""  # the command that writes it, for hints

    @property
    def sha256(self) -> str:
        """The hash of the text."""
        return sha256_text(self.to_text())

    def to_text(self) -> str:
        """Return the text of the file; the same document, the same bytes."""
        return readable_json(self.to_dict())

    def save(self, path: str | Path) -> Path:
        """Write the file, complete or not at all; return its path.

        Raises:
            NotEnoughDisk, ExportError: the disk is full, or it cannot be written.
        """
        write_atomically(Path(path), self.to_text())
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read the file.

        Raises:
            EmoPruneError: (`cls.error`) it is missing, or not such a document.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise cls.error(
                f"the {cls._title()} cannot be read",
                where=path,
                got=error.strerror or str(error),
                expected=f"a file with schema {cls.schema}",
                hint=cls._remedy(),
            ) from None
        return cls.from_text(data, path)

    @classmethod
    def from_text(cls, text: str | bytes, where: object) -> Self:
        """Read the text of a file; `where` names it in errors.

        Raises:
            EmoPruneError: (`cls.error`) it is not such a document.
        """
        try:
            value = strict_json(text)
        except ValueError as error:
            raise cls.error(
                f"the {cls._title()} is not valid JSON",
                where=where,
                got=error,
                hint=cls._remedy(),
            ) from None
        return cls.from_value(value, where)

    @classmethod
    def from_value(cls, value: object, where: object) -> Self:
        """Read a JSON value; `where` names it in errors.

        Raises:
            EmoPruneError: (`cls.error`) it is not such a document.
        """
        try:
            if schema_of(value) != cls.schema:
                raise msgspec.ValidationError(f"schema {schema_of(value)!r}")
            return convert(value, cls)
        except msgspec.ValidationError as problem:
            raise cls.error(
                f"the {cls._title()} breaks its schema",
                where=where,
                got=problem,
                expected=f"what {cls.schema} describes",
                hint=cls._remedy(),
            ) from None

    @classmethod
    def _title(cls) -> str:
        return cls.schema.removeprefix(PREFIX).partition("/")[0]

    @classmethod
    def _remedy(cls) -> str:
        return f"run {cls.made_by} again, or mend the file" if cls.made_by else ""


def convert(value: object, type_: type[PartType]) -> PartType:
    """Return a JSON value as a part of a document.

    JSON has one kind of number: 3.0 is taken for an integer, as JSON Schema does.

    Raises:
        msgspec.ValidationError: it is not one; says where in it.
    """
    try:
        return msgspec.convert(value, type_, str_keys=True)
    except msgspec.ValidationError:  # which most values do not need: 3.0 stays 3.0
        return msgspec.convert(_whole_numbers(value), type_, str_keys=True)


def plain(value: Any) -> Any:
    """Return a value with lists for tuples, as JSON has it."""
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def schema_of(value: object) -> str | None:
    """Return the id that a JSON value bears, if it is one of ours."""
    schema = value.get("schema") if isinstance(value, dict) else None
    ours = isinstance(schema, str) and schema.startswith(PREFIX)
    return str(schema) if ours else None


def document_type(schema: str) -> type[Document] | None:
    """Return the type of the documents with an id; None for one not known here."""
    if schema not in DOCUMENTS:
        return None
    module, _, name = DOCUMENTS[schema].partition(":")
    found: type[Document] = getattr(import_module(module), name)
    return found


def json_schema(schema: str) -> dict[str, Any]:
    """Return the JSON Schema of a document, generated from its type.

    Raises:
        KeyError: there is no such document.
    """
    type_ = document_type(schema)
    if type_ is None:
        raise KeyError(schema)
    made = msgspec.json.schema(type_)
    definitions: dict[str, Any] = made["$defs"]
    top: dict[str, Any] = definitions.pop(made["$ref"].rpartition("/")[2])
    top["required"] = ["schema", *(key for key in top["required"] if key != "schema")]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **top,
        **({"$defs": definitions} if definitions else {}),
    }


def data_frame(rows: Sequence[Mapping[str, object]]) -> DataFrame:
    """Return the lines of a table, column by name, as a pandas DataFrame.

    Raises:
        ReportError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise ReportError(
            "pandas is not installed",
            expected="pandas, for tables in Python",
            hint="pip install pandas",
        ) from None
    return pandas.DataFrame(list(rows))


def html_table(columns: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as a notebook shows it."""
    import html

    head = "".join(f"<th>{html.escape(str(column))}</th>" for column in columns)
    lines = "".join(
        f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _whole_numbers(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    return value
