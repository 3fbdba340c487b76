"""`emo-prune pretrain`."""

from __future__ import annotations

from emo_prune.cli import console
from emo_prune.cli.command import command as command_of
from emo_prune.options import PretrainOptions


def _pretrain(options: PretrainOptions, as_json: bool) -> None:
    """Train a model by the EMO recipe: documents share pools of experts.

    emo-prune pretrain corpus/ -o my-emo

    torchrun --nproc-per-node 8 -m emo_prune pretrain allenai/OLMoE-mix-0924
    --recipe emo-1b14b --tokenizer dolma2/ --fsdp -o emo-1b14b
    """
    from emo_prune.pretraining import pretrain

    trained = pretrain.on(options)
    if console.is_silent():
        return
    record = trained.record
    if as_json:
        console.document(record.to_text())
        return
    loss = record.final.get("loss", float("nan"))
    console.result(
        f"wrote {trained.path}: {record.variant}, {record.tokens:,} tokens, "
        f"loss {loss:.3f}"
    )


command = command_of(PretrainOptions, _pretrain)
