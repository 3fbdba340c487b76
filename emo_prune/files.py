"""Files of text: strict JSON and TOML, hashes, versions, atomic writes.

Nothing here knows the clock, the host or an absolute path, so that the same inputs
give the same bytes on every machine.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

from emo_prune.errors import ExportError, NotEnoughDisk
from emo_prune.locks import PATIENCE, held

_MAX_DEPTH = 64  # a config has four levels; each pruning of a pruned model adds one
_MAX_BYTES = 512_000_000  # of a document; results of a large benchmark are 20 MB
_MAX_NUMBER = 10**100  # configs hold 10**30 for "no limit"
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # as an escape


def strict_json(text: str | bytes) -> Any:
    """Return the value of a JSON text that means the same to every reader.

    Beyond what the standard library refuses: a key given twice, a number that is not
    finite or beyond 1e100, half of a surrogate pair, nesting deeper than 64 levels, and
    more than 512 MB. Whatever this returns can be copied, hashed and written as JSON
    again.

    Raises:
        ValueError: the text is not such JSON; says why.
    """
    _refuse_size(text)
    plain = _plain(text)
    try:
        value = json.loads(
            plain,
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
        )
        if _SURROGATE.search(plain):
            json.dumps(value, ensure_ascii=False).encode()  # fails for half a pair
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _refuse_extremes(value)
    return value


def strict_toml(text: str | bytes) -> dict[str, Any]:
    """Return the table of a TOML text, with the limits of `strict_json`.

    A byte order mark at its start is passed over.

    Raises:
        ValueError: the text is not such TOML; says why.
    """
    import tomllib  # most commands read none

    _refuse_size(text)
    try:
        value = tomllib.loads(_plain(text).removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    _refuse_extremes(value)
    return value


def _plain(text: str | bytes) -> str:
    """Return a text that is UTF-8, or can be."""
    if isinstance(text, bytes):
        return text.decode()
    text.encode()
    return text


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key appears twice")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _refuse_size(text: str | bytes) -> None:
    if len(text) > _MAX_BYTES:
        raise ValueError(f"{len(text):,} bytes, more than {_MAX_BYTES:,}")


def _refuse_extremes(value: Any) -> None:
    level = [value]
    for _ in range(_MAX_DEPTH + 1):
        inner: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is dict:
                inner.extend(item.values())
            elif kind is list:
                inner.extend(item)
            elif (kind is float or kind is int) and abs(item) > _MAX_NUMBER:
                raise ValueError("a number is too large")
        if not inner:
            return
        level = inner
    raise ValueError("nested too deeply")


def canonical_json(value: Any) -> str:
    """Return the one compact JSON text of a value: sorted keys, UTF-8, no NaN."""
    return json.dumps(
        value,
        sort_keys=True,
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
    )


def readable_json(value: Any) -> str:
    """Return JSON for people: keys in the given order, lists of numbers on one line."""
    return _render(value, "") + "\n"


def _render(value: Any, indent: str) -> str:
    inner = indent + "  "
    if isinstance(value, dict) and value:
        rows = [
            f"{inner}{json.dumps(str(key), ensure_ascii=False)}: {_render(v, inner)}"
            for key, v in value.items()
        ]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(v, dict | list) for v in value):
        rows = [inner + _render(v, inner) for v in value]
        return "[\n" + ",\n".join(rows) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def sha256_bytes(data: bytes) -> str:
    """Return "sha256:" and the hexadecimal digest."""
    import hashlib  # slow, and not every command needs it

    return "sha256:" + hashlib.sha256(data).hexdigest()


def sha256_text(text: str) -> str:
    """Return the sha256 of a text's UTF-8 bytes."""
    return sha256_bytes(text.encode())


def versions(*packages: str) -> dict[str, str]:
    """Return the installed version of each package, without importing any."""
    from importlib import metadata  # slow, and not every command needs it

    return {name.replace("-", "_"): metadata.version(name) for name in packages}


def write_atomically(
    path: Path, data: str | bytes | memoryview, *, durable: bool = True
) -> None:
    """Write a file that appears complete or not at all.

    `durable` waits until it is on the disk, which on a busy one can take seconds.

    Raises:
        NotEnoughDisk, ExportError: the disk is full, or the file cannot be written.
    """
    with replacing(path, durable=durable) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def noted_before(path: Path, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Note facts in a JSON file that is not there yet; else return what it holds.

    None says that they are noted now. For runs that go on where one was interrupted.

    Raises:
        ValueError: the file holds no JSON object.
        NotEnoughDisk, ExportError: the disk is full, or the file cannot be written.
    """
    if not path.exists():
        write_atomically(path, readable_json(dict(facts)))
        return None
    before = strict_json(path.read_bytes())
    if not isinstance(before, dict):
        raise ValueError("no JSON object")
    return before


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[IO[bytes]]:
    """Open a file to write to, which gets its name when the block ends without error.

    Raises:
        NotEnoughDisk, ExportError: the disk is full, or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with held(path, patience=PATIENCE) as is_alone:
            if is_alone:
                _remove_stale(path)
            with _temporary(path, durable) as file:
                yield file
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise (NotEnoughDisk if full else ExportError)(
            "the file cannot be written; nothing was left behind",
            where=path,
            got=error.strerror or str(error),
            hint="free some space, check permissions, or choose another place",
        ) from None


def _remove_stale(path: Path) -> None:
    """Remove what killed processes have left: whoever writes holds the lock."""
    for stale in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        with contextlib.suppress(OSError):
            stale.unlink()


@contextlib.contextmanager
def _temporary(path: Path, durable: bool) -> Iterator[IO[bytes]]:
    # Not by `tempfile`, whose files are for their owner alone.
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.partial")
    file = temporary.open("xb")
    try:
        with file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def file_mode() -> int:
    """Return the mode of a new file, by the process's umask."""
    mask = os.umask(0)  # it can only be read by setting it
    os.umask(mask)
    return 0o666 & ~mask


def digest_of(parts: Iterable[bytes]) -> str:
    """Return one sha256 over many parts, each preceded by its length."""
    import hashlib

    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return "sha256:" + digest.hexdigest()
