"""Cut experts out of a model as one does without emo-prune: load it, slice, save it.

    python benchmarks/load_all.py MODEL --selection selection.json -o DIR

emo-prune is imported for the EMO model class alone. Needs memory for all weights.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

import emo_prune  # noqa: F401 - registers the emo model type


def keep_experts(model: Any, selection: dict[str, Any]) -> None:
    """Cut each layer's experts and router rows in place."""
    for choice in selection["layers"]:
        kept = torch.tensor(choice["kept"])
        block = model.model.layers[choice["layer"]].mlp
        block.gate.weight = rows(block.gate.weight, kept)
        block.experts.gate_up_proj = rows(block.experts.gate_up_proj, kept)
        block.experts.down_proj = rows(block.experts.down_proj, kept)
    model.config.num_experts = selection["budget"]["num_experts"]
    model.config.num_experts_per_tok = selection["budget"]["num_experts_per_tok"]


def rows(weight: Tensor, kept: Tensor) -> nn.Parameter:
    """Return a parameter of some rows of another: [experts, ...] to [kept, ...]."""
    return nn.Parameter(weight.detach()[kept], requires_grad=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Load, slice, save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="a checkpoint folder")
    parser.add_argument("--selection", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    selection = json.loads(options.selection.read_text(encoding="utf-8"))
    model = AutoModelForCausalLM.from_pretrained(options.model)
    keep_experts(model, selection)
    model.save_pretrained(options.output)
    AutoTokenizer.from_pretrained(options.model).save_pretrained(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
