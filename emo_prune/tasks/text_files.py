"""Text files of users: UTF-8, with or without a mark at the start, perhaps gzipped."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from emo_prune.errors import TaskError


def open_text(path: Path, newline: str | None = None) -> IO[str]:
    """Open a text file, gzip-compressed if its name ends in .gz.

    `newline` is that of `open`: CSV wants "" for the line ends inside its cells.
    """
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline=newline)
    return path.open(encoding="utf-8-sig", newline=newline)


@contextmanager
def reading(path: Path, error: type[TaskError]) -> Iterator[None]:
    """Raise `error`, which names the file, for whatever keeps it from being text."""
    try:
        yield
    except UnicodeDecodeError as failure:
        raise error(
            "the file is not UTF-8 text",
            where=path,
            got=failure.reason,
            expected="text in UTF-8",
            hint=f"convert it: iconv -f ENCODING -t UTF-8 {path.name}",
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as failure:
        raise error(
            "the file is not a whole gzip file",
            where=path,
            got=str(failure),
            expected="a complete gzip archive, since its name ends in .gz",
            hint="compress it again, or take .gz off its name if it is plain text",
        ) from None
    except csv.Error as failure:
        raise error(
            "the file is not CSV",
            where=path,
            got=str(failure),
            expected="comma-separated values",
            hint="download the file again",
        ) from None
    except OSError as failure:
        raise error(
            "the file cannot be read",
            where=path,
            got=failure.strerror or str(failure),
            expected="a file with text",
            hint="check the path and its permissions",
        ) from None
