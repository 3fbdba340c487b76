"""Count a checkpoint's parameters as one does without emo-prune, with no weights read.

    python benchmarks/count_parameters.py MODEL

emo-prune is imported for the EMO model class alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import torch
from transformers import AutoConfig, AutoModelForCausalLM

import emo_prune  # noqa: F401 - registers the emo model type


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the model on the meta device and print how many parameters it has."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="a checkpoint folder")
    options = parser.parse_args(arguments)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            AutoConfig.from_pretrained(options.model)
        )
    print(sum(parameter.numel() for parameter in model.parameters()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
