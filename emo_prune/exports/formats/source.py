"""The source's own layout, less the experts that go: nothing is renamed or computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from emo_prune.architectures import MoEModel, prune_config
from emo_prune.architectures.subset import subset_tensors
from emo_prune.checkpoint import OutputTensor, Tensor
from emo_prune.exports.claims import Claim, Kept, same_claims, same_names
from emo_prune.exports.formats import Format


class Source(Format):
    """Whatever read the source reads the export."""

    name = "source"

    def refuse(self, model: MoEModel, kept: Kept, top_k: int) -> None:
        """Refuse nothing."""

    def tensors(self, model: MoEModel, kept: Kept) -> list[OutputTensor]:
        """Return the source's tensors, cut to the kept experts."""
        return subset_tensors(model, kept)

    def config(self, model: MoEModel, kept: Kept, top_k: int) -> dict[str, Any]:
        """Return the source's config, edited key by key."""
        return prune_config(model, kept, top_k)

    def card_line(self, model_type: str) -> str:
        """Say how to load it."""
        if model_type == "emo":
            return (
                "Load it with transformers; `import emo_prune` first, which registers "
                "the `emo` architecture."
            )
        return "Load it with transformers; the layout is that of the source."

    def names(self, model: MoEModel, kept: Kept, dropped: Sequence[str]) -> set[str]:
        """Return the source's names, experts renumbered."""
        return same_names(model, kept, dropped)

    def claims(self, tensor: Tensor, model: MoEModel, kept: Kept) -> Iterator[Claim]:
        """Claim that every byte is the source's."""
        return same_claims(tensor, tensor.name, model, kept)


FORMAT = Source()
