"""Where this machine last saw a checkpoint, by fingerprint.

Artifacts hold no absolute path, so an export names its source by fingerprint alone.
This note in the user's cache folder leads back to the source (`verify`, `eval`). It
is a convenience: losing it costs an option on the command line.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from emo_prune.errors import ExportError
from emo_prune.files import canonical_json, strict_json, write_atomically


def remember(fingerprint: str, model: str) -> None:
    """Note where a checkpoint is; a folder by its absolute path, a Hub id as it is."""
    place = str(Path(model).resolve()) if Path(model).is_dir() else model
    known = _read()
    if known.get(fingerprint) == place:
        return
    text = canonical_json({**known, fingerprint: place})
    # A read-only home is no reason to fail, nor is a place whose name is no text.
    with contextlib.suppress(ExportError, UnicodeEncodeError):
        write_atomically(_file(), text, durable=False)


def locate(fingerprint: str) -> str | None:
    """Return where a checkpoint was last seen, or None."""
    return _read().get(fingerprint)


def _file() -> Path:
    import platformdirs

    return platformdirs.user_cache_path("emo-prune") / "checkpoints.json"


def _read() -> dict[str, str]:
    try:
        known = strict_json(_file().read_bytes())
    except (OSError, ValueError):
        return {}
    pairs = known.items() if isinstance(known, dict) else ()
    return {key: place for key, place in pairs if isinstance(place, str)}
