"""Write the JSON Schemas of all documents: `python docs/write_schemas.py`."""

from __future__ import annotations

import json
from pathlib import Path

from emo_prune.artifacts import DOCUMENTS, PREFIX, json_schema

FOLDER = Path(__file__).resolve().parent.parent / "emo_prune" / "schemas"


def schema_files() -> dict[Path, str]:
    """Return the text of each schema by its file."""
    return {
        FOLDER / f"{schema.removeprefix(PREFIX).replace('/', '-')}.schema.json": (
            json.dumps(json_schema(schema), indent=1, ensure_ascii=False) + "\n"
        )
        for schema in DOCUMENTS
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, text in schema_files().items():
        file.write_text(text, encoding="utf-8")
