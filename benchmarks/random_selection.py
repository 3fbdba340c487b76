"""Write a selection that keeps experts drawn at random (shared ones always).

    python benchmarks/random_selection.py MODEL -o selection.json --keep 12.5%

No model is run, so the shares it records are zero; `export` takes it as any other.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from emo_prune.architectures import MoELayer, MoEModel, describe, fingerprint
from emo_prune.checkpoint import open_checkpoint
from emo_prune.errors import EmoPruneError
from emo_prune.facts import Calibration
from emo_prune.files import versions
from emo_prune.selection import (
    KeptExperts,
    LayerSelection,
    Limits,
    Method,
    Selection,
    parse_keep,
    resolve_budget,
    source_model,
)


def random_selection(model: MoEModel, keep: str, seed: int) -> Selection:
    """Return a selection of `keep` of the experts in each layer."""
    budget = resolve_budget(parse_keep(keep), Limits.of(model))
    wanted = budget.num_experts
    draw = random.Random(seed)
    return Selection(
        model=source_model(model, fingerprint(model)),
        calibration=Calibration(
            task="none", num_examples=0, num_tokens=0, documents=()
        ),
        method=Method(score="random", greedy=False, seed=seed),
        budget=KeptExperts(
            keep=wanted / model.num_experts,
            num_experts=wanted,
            num_experts_per_tok=budget.top_k,
        ),
        layers=tuple(random_layer(layer, wanted, draw) for layer in model.layers),
        versions=versions("emo-prune"),
    )


def random_layer(layer: MoELayer, wanted: int, draw: random.Random) -> LayerSelection:
    """Return the choice for one layer."""
    obligatory = set(layer.obligatory)
    others = [e for e in range(layer.num_experts) if e not in obligatory]
    drawn = draw.sample(others, wanted - len(obligatory))
    return LayerSelection(
        layer=layer.layer,
        kept=tuple(sorted(obligatory.union(drawn))),
        retained_mass=0.0,
        retained_picks=0.0,
        stability=None,
        effective_experts=0.0,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="a checkpoint folder")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--keep", default="12.5%", help="12.5%%, 0.125 or 16")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        model = describe(open_checkpoint(options.model))
        chosen = random_selection(model, options.keep, options.seed)
        chosen.save(options.output)
    except (EmoPruneError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
