"""Names of files, and where results go when nobody says: one table of both."""

from __future__ import annotations

import os
import re
from pathlib import Path

from emo_prune.errors import (
    ExportError,
    OutputExists,
    Parameter,
    SettingsError,
    Text,
)

ROOT = Path("emo-prune-out")

# Artifacts, beside one another in a task's folder.
SELECTION = "selection.json"
SCORES = "scores.safetensors"
CHECKPOINT = "checkpoint"
RESULTS = "results.json"
SWEEP = "sweep.json"
REPORT = "report.html"

# Within a checkpoint: what it was made of.
RECORD = "emo_prune.json"
CARVING = "carving.json"

# Within a checkpoint of anybody's.
CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"  # where one file holds all
CARD = "README.md"

_EXPORT = re.compile(rf"{CHECKPOINT}(-[a-z0-9_]+)?")


def selection_file(output: Path) -> Path:
    """Return where `select` writes: a folder, or the very file if it ends in .json."""
    return output if output.suffix == ".json" else output / SELECTION


def scores_file(selection: Path) -> Path:
    """Return where the scores of a selection go: beside it, by its name."""
    prefix = "" if selection.name == SELECTION else f"{selection.stem}."
    return selection.with_name(prefix + SCORES)


def state_of(output: Path) -> Path:
    """Return where a streamed run is saved, to go on from: beside its output."""
    return output.with_name(output.name + ".resume")


def checkpoint_folder(selection: Path, layout: str) -> Path:
    """Return where the export of a selection goes: beside it."""
    suffix = "" if layout == "source" else f"-{layout}"
    return selection.parent / f"{CHECKPOINT}{suffix}"


def carving_folder(model: str, form: str) -> Path:
    """Return where a carved model goes: a folder by the model's name and its new form.

    Later artifacts call a checkpoint by the name of its folder.
    """
    folder = Path(model)
    name = folder.resolve().name if folder.is_dir() else folder.name
    return ROOT / f"{name}-{form}"


def results_file(
    output: Path | None, checkpoint: Path, slug: str, is_export: bool
) -> Path:
    """Return where `eval` writes: beside an export, else in the task's folder.

    Raises:
        SettingsError: that would be inside the checkpoint, where `verify` would find
            a file too many.
    """
    layout = _EXPORT.fullmatch(checkpoint.resolve().name)
    if output is not None:
        file = output if output.suffix == ".json" else output / RESULTS
    elif is_export and layout:
        file = checkpoint / ".." / f"results{layout[1] or ''}.json"
        file = Path(os.path.normpath(file))
    else:
        file = ROOT / slug / f"results-{checkpoint.resolve().name}.json"
    refuse_inside(file, checkpoint)
    return file


def results_of_selection(output: Path | None, selection: Path) -> Path:
    """Return where the results of a selection go: beside it, by its name."""
    if output is not None:
        return output if output.suffix == ".json" else output / RESULTS
    prefix = "" if selection.name == SELECTION else f"{selection.stem}."
    return selection.with_name(prefix + RESULTS)


def sweep_file(output: Path | None) -> Path:
    """Return where `sweep` writes: a folder, or the very file if it ends in .json."""
    if output is None:
        return ROOT / SWEEP
    return output if output.suffix == ".json" else output / SWEEP


def sweep_state(output: Path) -> Path:
    """Return where the finished cells of a sweep are kept: beside its output."""
    return output.with_name(output.name + ".state")


def is_checkpoint(path: Path) -> bool:
    """Tell whether a folder has a config, and weights or a record beside it."""
    known = any((path / name).is_file() for name in (RECORD, CARVING))
    return (known or any(path.glob("model*.safetensors"))) and (path / CONFIG).is_file()


def refuse_inside(file: Path, checkpoint: Path) -> None:
    """Raise `SettingsError` for results that would lie inside a checkpoint."""
    if checkpoint.resolve() in file.resolve().parents:
        raise SettingsError(
            "the results would be written into the checkpoint",
            where=file,
            got=f"working folder {Path.cwd()}",
            hint=("choose another place with ", Parameter("output")),
        )


def refuse_no_text(folder: Path, hint: Text) -> None:
    """Raise `SettingsError` for a folder whose name is bytes that are no UTF-8."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise SettingsError(
            "transformers opens no folder whose name is no UTF-8",
            where=folder,
            hint=hint,
        ) from None


def refuse_unreachable(output: Path) -> None:
    """Raise `ExportError` if a file, or a link to nowhere, stands on the way."""
    parents = output.absolute().parents
    there = next((path for path in parents if os.path.lexists(path)), None)
    if there is not None and not there.is_dir():
        raise ExportError(
            "the output cannot be written: something on the way to it is no folder",
            where=output,
            got=f"{there}, {'a link' if there.is_symlink() else 'a file'}",
            hint=("give another place as ", Parameter("output")),
        )


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise `OutputExists` if a file is there and may not be replaced.

    Raises:
        ExportError: no file can be there.
    """
    refuse_unreachable(path)
    if path.is_dir() or (os.path.lexists(path) and not force):
        raise OutputExists(
            "the output exists already",
            where=path,
            hint=(
                *("use ", Parameter("force", True), " to replace it, or "),
                *(Parameter("output"), " for another place"),
            ),
        )


def selections() -> list[Path]:
    """Return the selections under the default output folder, by name."""
    return sorted(ROOT.glob(f"*/{SELECTION}"))


def exports() -> list[Path]:
    """Return the exports under the default output folder, by name."""
    return sorted(
        path.parent
        for path in ROOT.glob(f"*/{CHECKPOINT}*/{RECORD}")
        if not path.parent.name.endswith((".partial", ".replaced"))
    )
