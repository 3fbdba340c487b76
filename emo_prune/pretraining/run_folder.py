"""The folder of a training in progress, from which a later run goes on.

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
from collections.abc import Iterable, Mapping
from pathlib import Path

from emo_prune.errors import OutputExists, Parameter, StaleTraining
from emo_prune.exports import PartialFolder
from emo_prune.files import write_atomically
from emo_prune.pretraining.document import TrainingIdentity

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

    def refuse(self, *, resume: bool, force: bool) -> None:
        """Refuse to begin where that is not what was asked for.

        Raises:
            OutputExists: there is a training, and neither option says what to do with
                it.
            StaleTraining: there is none to resume.
        """
        begun = self._identity.is_file()
        if resume and not begun:
            raise StaleTraining(
                "there is no training to go on with",
                where=self.path,
                expected="the folder of an interrupted one",
                hint=(
                    *("leave out ", Parameter("resume", True), ", or give the "),
                    *(Parameter("output"), " that it had"),
                ),
            )
        if begun and not resume and not force:
            raise OutputExists(
                "there is a training in this place already",
                where=self.path,
                hint=(
                    *("go on with it by ", Parameter("resume", True)),
                    *(", replace it by ", Parameter("force", True)),
                    *(", or choose another place with ", Parameter("output")),
                ),
            )

    def begin(self, *, resume: bool) -> None:
        """Make the folder, or keep the one to go on in.

        What ended before it was claimed has trained nothing, and is begun anew.

        Raises:
            OutputExists: another process trains there.
        """
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

    def claim(self, identity: TrainingIdentity) -> None:
        """Note what is trained here, or see that it is the same as before.

        Raises:
            StaleTraining: an interrupted training was of something else.
        """
        if not self._identity.exists():
            identity.save(self._identity)
            return
        try:
            before = _flat(TrainingIdentity.load(self._identity).to_dict())
        except StaleTraining as problem:
            raise StaleTraining(
                "the file that says what was trained is damaged",
                where=self._identity,
                got=problem.got,
                hint=("start anew with ", Parameter("force", True)),
            ) from None
        now = _flat(identity.to_dict())
        changed = [key for key in now if now[key] != before.get(key)]
        if changed:
            raise StaleTraining(
                "the interrupted training was of something else",
                where=f"{self._identity}: {', '.join(changed[:5])}",
                got=", ".join(f"{now[key]}" for key in changed[:5]),
                expected=", ".join(f"{before.get(key)}" for key in changed[:5]),
                hint=(
                    "give the same options and text, or start anew with ",
                    Parameter("force", True),
                ),
            )

    def last_checkpoint(self) -> Path | None:
        """Return the newest whole checkpoint, and remove what was half written."""
        found = {}
        for folder in self.path.glob("checkpoint-*"):
            if (folder / _LAST_WRITTEN).is_file():
                found[self.steps(folder)] = folder
            else:
                shutil.rmtree(folder)
        return found[max(found)] if found else None

    def steps(self, checkpoint: Path) -> int:
        """Return after how many steps a checkpoint was made."""
        return int(checkpoint.name.rpartition("-")[2])

    def write_rows(self, rows: Iterable[Mapping[str, float]]) -> None:
        """Write the lines of metrics, instead of those that are there."""
        write_atomically(self.metrics, "".join(map(_line, rows)))

    def add_row(self, row: Mapping[str, float]) -> None:
        """Write one more line."""
        with self.metrics.open("a", encoding="utf-8", newline="\n") as file:
            file.write(_line(row))


def _line(row: Mapping[str, float]) -> str:
    return json.dumps(row) + "\n"


def _flat(value: Mapping[str, object], above: str = "") -> dict[str, object]:
    """Return nested settings by dotted names."""
    flat: dict[str, object] = {}
    for key, inner in value.items():
        name = f"{above}{key}"
        flat |= _flat(inner, f"{name}.") if isinstance(inner, dict) else {name: inner}
    return flat
