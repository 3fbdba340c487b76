"""Where results go when nobody says, and where the next command finds them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from emo_prune.errors import OutputExists, SettingsError

ROOT = Path("emo-prune-out")
SELECTION = "selection.json"
SCORES = "scores.safetensors"
CHECKPOINT = "checkpoint"
RESULTS = "results.json"
SWEEP = "sweep.json"
REPORT = "report.html"
_EXPORT = re.compile(rf"{CHECKPOINT}(-[a-z0-9_]+)?")


def selection_file(output: Path | None, slug: str) -> Path:
    """Return where `select` writes: a folder, or the very file if it ends in .json."""
    if output is None:
        return ROOT / slug / SELECTION
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
    """Return where `carve` writes: a folder by the model's name and its new form.

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


def refuse_inside(file: Path, checkpoint: Path) -> None:
    """Raise `SettingsError` for results that would lie inside a checkpoint."""
    if checkpoint.resolve() in file.resolve().parents:
        raise SettingsError(
            "the results would be written into the checkpoint",
            where=file,
            got=f"working folder {Path.cwd()}",
            hint="choose another place with -o",
        )


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


def report_file(output: Path | None, path: Path) -> Path:
    """Return where `report` writes: in a folder, else beside the file or checkpoint.

    Raises:
        SettingsError: the name is not one of a page, or is within a checkpoint, where
            `verify` would find a file too many.
    """
    from emo_prune.reports.page import is_checkpoint

    whole = is_checkpoint(path)
    if output is not None:
        file = output
    elif path.is_dir() and not whole:
        file = path / REPORT
    else:
        name = path.resolve().name if whole else path.stem
        file = Path(os.path.normpath(path / ".." / f"{name}.html"))
    inside = is_checkpoint(file.parent)
    if file.suffix.lower() not in (".html", ".htm") or inside:
        raise SettingsError(
            "the page would be written into a checkpoint"
            if inside
            else "the page needs the name of an HTML file",
            where="--output",
            got=file,
            expected="a name that ends in .html, outside of checkpoints",
            hint="try -o report.html",
        )
    return file


def refuse_checkpoint(folder: Path) -> None:
    """Raise `SettingsError` for pictures that would lie inside a checkpoint."""
    from emo_prune.reports.page import is_checkpoint

    if is_checkpoint(folder):
        raise SettingsError(
            "the pictures would be written into a checkpoint",
            where=folder,
            expected="a folder of their own",
            hint="choose another place",
        )


def selections() -> list[Path]:
    """Return the selections under the default output folder, by name."""
    return sorted(ROOT.glob(f"*/{SELECTION}"))


def exports(record: str) -> list[Path]:
    """Return the exports under the default output folder, by name."""
    return sorted(
        path.parent
        for path in ROOT.glob(f"*/{CHECKPOINT}*/{record}")
        if not path.parent.name.endswith((".partial", ".replaced"))
    )


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise `OutputExists` if a file is there and may not be replaced."""
    if path.exists() and not force:
        raise OutputExists(
            "the output exists already",
            where=path,
            hint="use --force to replace it, or -o for another place",
        )


def needed_model(model: str | None, place: str = "--model MODEL") -> str:
    """Return the model that was given; raise `SettingsError` if none was.

    place: where it stands on the command line.
    """
    if model:
        return model
    raise SettingsError(
        "no model is given",
        where=place.split()[0],
        expected="a checkpoint folder or a Hub id",
        hint=f"add {place}, set EMO_PRUNE_MODEL, or write model = ... into "
        "emo-prune.toml",
    )
