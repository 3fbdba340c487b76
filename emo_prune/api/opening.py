"""Open a model by name for the steps that follow."""

from __future__ import annotations

from emo_prune.architectures import MoEModel, describe, fingerprint
from emo_prune.checkpoint import local_folder, open_checkpoint, remember


def open_model(model: str, revision: str | None = None) -> MoEModel:
    """Open a local folder, or a Hub id by its headers alone, and find its experts.

    Raises:
        CheckpointError, ArchitectureError: it cannot be used; says why.
    """
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
