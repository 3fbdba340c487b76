"""Open a model by name for the steps that follow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from emo_prune.architectures.fingerprint import fingerprint
from emo_prune.architectures.layout import describe
from emo_prune.architectures.model import MoEModel
from emo_prune.checkpoint import (
    Checkpoint,
    local_folder,
    open_checkpoint,
    open_remote,
    remember,
    support_folder,
)
from emo_prune.places import refuse_no_text
from emo_prune.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A model whose bytes can be read; `folder` holds its config and tokenizer."""

    model: MoEModel
    fingerprint: str
    folder: Path


def open_model(
    model: str,
    revision: str | None = None,
    *,
    remote: bool = False,
    cache: Path | None = None,
) -> MoEModel:
    """Open a local folder, or a Hub id by its headers alone, and find its experts.

    `remote` reads the Hub even where there is a copy here; `cache` keeps what is read.

    Raises:
        CheckpointError, ArchitectureError: it cannot be used; says why.
    """
    if remote:
        return describe(open_remote(model, revision, cache))
    return describe(open_checkpoint(model, revision))


def open_local(model: str, revision: str | None = None) -> tuple[MoEModel, str]:
    """Open a model whose every byte is at hand (a Hub id is downloaded first).

    Returns the model and its fingerprint, and notes where it is for later commands.
    """
    folder = local_folder(model, revision)
    opened = open_model(str(folder))
    identity = fingerprint(opened)
    remember(identity, str(folder))
    return opened, identity


def downloaded(model: MoEModel, name: str) -> Opened:
    """Make what `open_model` has found under a name available here, whole.

    Raises:
        SettingsError: transformers could not open the folder, by its name.
    """
    folder = local_folder(name, model.checkpoint.revision)
    refuse_no_text(folder, "rename the folder, or make a link to it and give that")
    found, identity = open_local(str(folder))
    return Opened(model=found, fingerprint=identity, folder=folder)


def left_on_the_hub(model: MoEModel) -> Opened:
    """Make a model available that stays where it is, but for config and tokenizer."""
    name, revision = model.checkpoint.name, model.checkpoint.revision
    return Opened(
        model=model,
        fingerprint=fingerprint(model),
        folder=support_folder(name, revision),
    )


def say_what_was_not_kept(checkpoint: Checkpoint, progress: Progress) -> None:
    """Tell of a cache of ranges that could not be written to; reading went on."""
    problem = checkpoint.source.cache_problem
    if problem is not None:
        progress.say(f"what was read could not all be kept in the cache: {problem}")
