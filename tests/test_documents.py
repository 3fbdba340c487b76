"""What is written can be read, by readers of ours and by anybody's JSON Schema."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from emo_prune.artifacts import DOCUMENTS, document_type, json_schema
from emo_prune.errors import EmoPruneError

REPOSITORY = Path(__file__).resolve().parent.parent
HOSTILE = {
    "nothing": "",
    "half of it": "{",
    "null": "null",
    "a list": "[]",
    "an empty object": "{}",
    "another program's": '{"schema": "other/1"}',
    "a later version": '{"schema": "emo-prune/selection/999"}',
    "a key twice": '{"a": 1, "a": 2}',
    "100,000 levels": "[" * 100_000,
    "100 levels": "[" * 100 + "]" * 100,
    "a number of 5,000 digits": '{"a": ' + "9" * 5000 + "}",
    "a number of 400 digits": '{"a": ' + "9" * 400 + "}",
    "infinity": '{"a": Infinity}',
    "a large float": '{"a": 1e400}',
    "half a surrogate": '{"a": "\\ud800"}',
    "no UTF-8": b"\xff\xfe{}",
}


@pytest.mark.parametrize("schema", DOCUMENTS)
def test_a_type_says_the_id_it_is_known_by(schema: str) -> None:
    found = document_type(schema)
    assert found is not None
    assert found.schema == schema
    assert found.error is not EmoPruneError
    Draft202012Validator.check_schema(json_schema(schema))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("schema", DOCUMENTS)
def test_text_that_is_no_document_is_named(
    schema: str, text: str | bytes, tmp_path: Path
) -> None:
    file = tmp_path / "document.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = document_type(schema)
    assert found is not None
    with pytest.raises(found.error) as caught:
        found.load(file)
    assert "document.json" in str(caught.value)


@pytest.mark.parametrize("schema", DOCUMENTS)
def test_a_missing_file_is_named(schema: str, tmp_path: Path) -> None:
    found = document_type(schema)
    assert found is not None
    with pytest.raises(found.error, match="nowhere"):
        found.load(tmp_path / "nowhere.json")


def test_shipped_schemas_are_current() -> None:
    writer = _writer()
    files = writer.schema_files()
    assert {file.name for file in writer.FOLDER.iterdir()} == {f.name for f in files}
    for file, text in files.items():
        assert json.loads(file.read_text()) == json.loads(text), (
            "run: python docs/write_schemas.py"
        )


def _writer() -> Any:
    path = REPOSITORY / "docs/write_schemas.py"
    spec = importlib.util.spec_from_file_location("write_schemas", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
