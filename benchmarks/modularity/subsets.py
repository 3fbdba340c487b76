"""Subsets of a model's experts, through the functions behind `select` and `export`."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from windows import CONTEXT

from emo_prune import Selection, export, select
from emo_prune.architectures import ARCHITECTURES
from emo_prune.routing import moe_blocks, prune_in_place

_SPARE = 8  # tokens: a text that was cut may be divided into tokens a little otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Chooses experts of one checkpoint, always in the same way."""

    checkpoint: Path
    score: str
    greedy: bool

    def choose(self, examples: Path, keep: int) -> Selection:
        """Choose by a file of documents."""
        return self._select(examples, keep, self.score, self.greedy, 0)

    def draw(self, examples: Path, keep: int, seed: int) -> Selection:
        """Draw experts at random; the shared ones stay, as in any choice."""
        return self._select(examples, keep, "random", False, seed)

    def _select(
        self, examples: Path, keep: int, score: str, greedy: bool, seed: int
    ) -> Selection:
        return select(
            model=self.checkpoint,
            examples=examples,
            keep=keep,
            seed=seed,
            num_examples="all",
            score=score,
            greedy=greedy,
            stream=False,
        )

    def export(self, selection: Selection, output: Path) -> None:
        """Write the subset's checkpoint."""
        export(selection, model=self.checkpoint, output=output)


def write_calibration(file: Path, texts: Sequence[str], tokenizer: Any) -> None:
    """Write documents as examples: as much of their beginnings as the model reads.

    Each opens with the end-of-text token, as in training.
    """
    room = CONTEXT - 1 - _SPARE
    rows = []
    for text in texts:
        offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        head = text if len(offsets) <= room else text[: offsets[room][0]]
        rows.append(json.dumps({"text": tokenizer.eos_token + head}))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")


def pruned(model: Any, kept: Mapping[int, Sequence[int]], top_k: int) -> Any:
    """Return a copy of a loaded model, cut to the kept experts of each layer."""
    smaller = copy.deepcopy(model)
    architecture = ARCHITECTURES[model.config.model_type]
    for block in moe_blocks(smaller, architecture):
        prune_in_place(block, kept[block.layer], top_k)
    return smaller
