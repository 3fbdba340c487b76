"""How often each expert was picked, from the scores that lie beside a selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emo_prune.selection import Selection

if TYPE_CHECKING:
    from emo_prune.reports.page.artifacts import Artifact

SCHEMA = "scores"  # what no JSON file can say of itself
FILES = ("scores.safetensors", ".scores.safetensors")  # the ends of their names


def scores_value(file: Path) -> dict[str, Any]:
    """Return a scores file as the value of an artifact: whose it is, and the picks.

    `use` maps a layer to each expert's picks as a share of the most picked one's;
    experts that every token goes through count as much as that one.

    Raises:
        BadSelection: it is damaged.
    """
    from emo_prune.selection import read_scores

    scores = read_scores(file)
    use = {}
    for layer in scores.layers:
        picks = layer.picks.sum(axis=0).tolist()
        always = set(scores.limits.obligatory.get(layer.layer, ()))
        most = max(n for expert, n in enumerate(picks) if expert not in always) or 1
        use[layer.layer] = [
            1.0 if expert in always else n / most for expert, n in enumerate(picks)
        ]
    return {
        "model": scores.model,
        "calibration": scores.calibration,
        "use": use,
    }


def use_by_layer(
    selection: Selection, beside: Sequence[Artifact]
) -> Mapping[int, Sequence[float]]:
    """Return the `use` of the scores that a selection was made of; empty without."""
    for artifact in beside:
        value = artifact.value
        if (
            artifact.schema == SCHEMA
            and value["model"] == selection.model
            and value["calibration"] == selection.calibration
        ):
            return {
                layer: use
                for layer, use in value["use"].items()
                if len(use) == selection.model["num_experts"]
            }
    return {}
