"""`emo-prune carve`."""

from __future__ import annotations

from emo_prune.cli import console
from emo_prune.cli.command import command as command_of
from emo_prune.options import CarveOptions


def _carve(options: CarveOptions, as_json: bool) -> None:
    """Carve a dense model's feed-forward layers into experts (EMoE).

    Weights change their place and nothing else: none is added, and with all experts
    picked it is the dense model. With --task or --examples it is measured how much of
    the activations the picked experts hold. emo-prune restore --dense undoes it, bit
    for bit.

        emo-prune carve ./dense --num-experts 16 --top-k 4 --layers last:8
    """
    from emo_prune.carving import carve

    record = carve.on(options)
    if as_json:
        console.document(record.to_text())
        return
    from emo_prune.reports.terminal import carving_table

    console.table(carving_table(record))


command = command_of(CarveOptions, _carve)
