"""`emo-prune restore`."""

from __future__ import annotations

from emo_prune.cli import console
from emo_prune.cli.command import command as command_of
from emo_prune.options import RestoreOptions
from emo_prune.units import format_bytes


def _restore(options: RestoreOptions, as_json: bool) -> None:
    """Put a carved model together: the dense one again, bit for bit.

    emo-prune restore ./dense-emoe --dense -o ./dense-again
    """
    from emo_prune.carving import restore

    restored = restore.on(options)
    if as_json:
        console.document(restored.to_text())
        return
    console.result(
        f"wrote {restored.path}: {restored.num_tensors} tensors, "
        f"{format_bytes(restored.num_bytes)} of weights"
    )


command = command_of(RestoreOptions, _restore)
