"""`emo-prune extract`."""

from __future__ import annotations

from emo_prune.cli import console
from emo_prune.cli.command import command as command_of
from emo_prune.files import readable_json
from emo_prune.options import ExtractOptions
from emo_prune.units import format_bytes


def _extract(options: ExtractOptions, as_json: bool) -> None:
    """Select and export in one pass, layer by layer: the model is never loaded whole.

    The outcome is that of select --greedy and export, byte for byte. Of the experts,
    only those that stay are read (with the scores easy-ep and reap, all that tokens
    go to). An interrupted run goes on with --resume.

        emo-prune extract --model allenai/Emo_1b14b_1T --remote --task math

        emo-prune extract --model ./model --task math --task law --keep 25%
    """
    from emo_prune.exports import extract

    extracted = extract.on(options)
    if as_json:
        console.document(readable_json(extracted.to_dict()))
        return
    from emo_prune.reports.terminal import selection_table

    for subset in extracted.subsets:
        console.table(selection_table(subset.selection))
        size = format_bytes(subset.bytes_written)
        console.result(f"wrote {subset.checkpoint}: {size}")
        console.note(f"wrote {subset.selection_file}")
    console.note(f"read {format_bytes(extracted.bytes_read)} of the source")


command = command_of(ExtractOptions, _extract)
