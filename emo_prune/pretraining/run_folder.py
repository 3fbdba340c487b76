"""The folder of a training in progress, from which `--resume` goes on.

    OUTPUT.run/
        run.json         what is trained: recipe, variant, hashes of text and tokenizer
        tokenizer/
        checkpoint-N/    after N steps: weights, and the optimiser's state
        metrics.jsonl    a line each `log_steps` steps

It stays when the training is done, and is yours to delete.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emo_prune.errors import OutputExists, StaleTraining
from emo_prune.exports import PartialFolder
from emo_prune.files import noted_before, readable_json

# transformers' Trainer writes it last: a checkpoint without it is half a checkpoint.
_LAST_WRITTEN = "trainer_state.json"


class RunFolder:
    """The files of a training; only the first of several processes writes any."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tokenizer = path / "tokenizer"
        self.metrics = path / "metrics.jsonl"
        self._identity = path / "run.json"
        self._held = PartialFolder(path)

    def begin(self, *, resume: bool, force: bool) -> None:
        """Make the folder, or keep the one to go on in.

        What ended before it was claimed has trained nothing, and is begun anew.

        Raises:
            OutputExists: there is one, and neither option says what to do with it;
                or another process trains there.
            StaleTraining: there is none to resume.
        """
        begun = self._identity.is_file()
        if resume and not begun:
            raise StaleTraining(
                "there is no training to go on with",
                where=self.path,
                expected="the folder of an interrupted one",
                hint="leave --resume out, or give the -o that it had",
            )
        if begun and not resume and not force:
            raise OutputExists(
                "there is a training in this place already",
                where=self.path,
                hint="go on with it by --resume, replace it by --force, or choose "
                "another place with -o",
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self._held.take_over()
        if not resume:
            self._clear()

    def release(self) -> None:
        """Let others train here."""
        self._held.release()

    def _clear(self) -> None:
        """Remove what this class and the trainer write, and nothing else."""
        for file in (self._identity, self.metrics):
            file.unlink(missing_ok=True)
        for folder in (self.tokenizer, *self.path.glob("checkpoint-*")):
            shutil.rmtree(folder, ignore_errors=True)

    def claim(self, identity: Mapping[str, Any]) -> None:
        """Note what is trained here, or see that it is the same as before.

        Raises:
            StaleTraining: an interrupted training was of something else.
        """
        try:
            noted = noted_before(self._identity, identity)
        except ValueError as error:
            raise StaleTraining(
                "the file that says what was trained is damaged",
                where=self._identity,
                got=str(error)[:200],
                hint="start anew with --force",
            ) from None
        if noted is None:
            return
        before = _flat(noted)
        now = _flat(json.loads(readable_json(identity)))
        changed = [key for key in now if now[key] != before.get(key)]
        if changed:
            raise StaleTraining(
                "the interrupted training was of something else",
                where=f"{self._identity}: {', '.join(changed[:5])}",
                got=", ".join(f"{now[key]}" for key in changed[:5]),
                expected=", ".join(f"{before.get(key)}" for key in changed[:5]),
                hint="give the same options and text, or start anew with --force",
            )

    def last_checkpoint(self) -> Path | None:
        """Return the newest whole checkpoint, and remove what was half written."""
        found = {}
        for folder in self.path.glob("checkpoint-*"):
            if (folder / _LAST_WRITTEN).is_file():
                found[int(folder.name.rpartition("-")[2])] = folder
            else:
                shutil.rmtree(folder)
        return found[max(found)] if found else None

    def rows(self) -> list[dict[str, float]]:
        """Return the lines of metrics."""
        if not self.metrics.exists():
            return []
        lines = self.metrics.read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]


def _flat(value: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested settings by dotted names."""
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        name = f"{above}{key}"
        flat |= _flat(inner, f"{name}.") if isinstance(inner, dict) else {name: inner}
    return flat
