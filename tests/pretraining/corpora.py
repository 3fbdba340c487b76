"""Small corpora on the disk."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any


def rows_file(path: Path, *rows: Any) -> Path:
    """Write rows as JSON lines, compressed if the name ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def texts_file(path: Path, *texts: str) -> Path:
    """Write rows that have a text each."""
    return rows_file(path, *({"text": text} for text in texts))
