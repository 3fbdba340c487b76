"""The finished model as a checkpoint folder that the rest of the road takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from emo_prune.exports import (
    PRETRAIN_SCHEMA,
    PRETRAINED,
    RECORD,
    PartialFolder,
    named_errors,
    partial_of,
    publish,
)
from emo_prune.files import file_mode, readable_json, versions
from emo_prune.pretraining.recipe import Recipe, Variant

_POINTS = 200  # of the loss curve, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainRecord:
    """What `emo_prune.json` says of a training; nothing in it depends on the machine.

    data: sources with sizes and hashes, domains, tokens (`TokenCache.meta`).
    initialised_from: the fingerprint of the checkpoint whose weights it began with.
    losses: the lines of metrics, in nats per token.
    """

    variant: Variant
    recipe: Recipe
    data: Mapping[str, Any]
    initialised_from: str | None
    steps: int
    losses: Sequence[Mapping[str, float]]

    def to_json(self) -> dict[str, Any]:
        """Return the value of emo_prune.json."""
        every = -(-len(self.losses) // _POINTS) or 1
        curve = [
            [int(row["step"]), row["loss"]] for row in self.losses[every - 1 :: every]
        ]
        return {
            "schema": PRETRAIN_SCHEMA,
            "variant": self.variant,
            "recipe": asdict(self.recipe),
            "data": dict(self.data),
            "initialised_from": self.initialised_from,
            "steps": self.steps,
            "tokens": self.steps * self.recipe.tokens_per_step,
            "final": _final(self.losses),
            "loss_by_step": curve,
            "versions": versions("emo-prune", "torch", "transformers", "tokenizers"),
        }


def publish_model(
    model: Any,
    state: Mapping[str, torch.Tensor],
    tokenizer: Any,
    record: PretrainRecord,
    output: Path,
    *,
    force: bool,
) -> None:
    """Write checkpoint, tokenizer and record, so that all appear together or not.

    `force` replaces an earlier one.

    Raises:
        OutputExists: something is there that may not be replaced.
        NotEnoughDisk, ExportError: it cannot be written.
    """
    dtype = getattr(torch, record.recipe.save_dtype)
    state = {name: tensor.to(dtype) for name, tensor in state.items()}
    num_bytes = sum(tensor.numel() * tensor.itemsize for tensor in state.values())
    output = output.resolve()  # a link to another disk: beside its target
    partial = PartialFolder(partial_of(output))
    with named_errors(output, num_bytes, "the training's own folder is whole"):
        output.parent.mkdir(parents=True, exist_ok=True)
        partial.make(force=True)
        try:
            model.config.dtype = dtype
            model.save_pretrained(partial.path, state_dict=state)
            tokenizer.save_pretrained(partial.path)
            text = readable_json(record.to_json())
            (partial.path / RECORD).write_text(text, encoding="utf-8")
            for file in partial.path.iterdir():  # safetensors' own are for us alone
                file.chmod(file_mode())
            publish(partial.path, output, force=force, kind=PRETRAINED)
            partial.release()
        finally:
            partial.discard()


def _final(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the last line of metrics, without what depends on the schedule alone."""
    if not rows:
        return {}
    return {
        key: value
        for key, value in rows[-1].items()
        if key not in ("step", "tokens", "learning_rate")
    }
