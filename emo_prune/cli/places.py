"""Where results go when nobody says, and where the next command finds them."""

from __future__ import annotations

from pathlib import Path

from emo_prune.errors import OutputExists, SettingsError

ROOT = Path("emo-prune-out")
SELECTION = "selection.json"
SCORES = "scores.safetensors"
CHECKPOINT = "checkpoint"
RESULTS = "results.json"


def selection_file(output: Path | None, slug: str) -> Path:
    """Return where `select` writes: a folder, or the very file if it ends in .json."""
    if output is None:
        return ROOT / slug / SELECTION
    return output if output.suffix == ".json" else output / SELECTION


def checkpoint_folder(selection: Path, layout: str) -> Path:
    """Return where the export of a selection goes: beside it."""
    suffix = "" if layout == "source" else f"-{layout}"
    return selection.parent / f"{CHECKPOINT}{suffix}"


def results_file(output: Path | None, export: Path) -> Path:
    """Return where `eval` of an export writes."""
    if output is not None:
        return output if output.suffix == ".json" else output / RESULTS
    if export.name.startswith(CHECKPOINT):  # beside its selection
        suffix = export.name.removeprefix(CHECKPOINT)
        return export.parent / f"results{suffix}.json"
    return ROOT / export.name / RESULTS


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


def needed_model(model: str | None) -> str:
    """Return the model that was given; raise `SettingsError` if none was."""
    if model:
        return model
    raise SettingsError(
        "no model is given",
        where="--model",
        expected="a checkpoint folder or a Hub id",
        hint="add --model MODEL, set EMO_PRUNE_MODEL, or write model = ... into "
        "emo-prune.toml",
    )
