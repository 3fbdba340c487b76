"""`selection.json`: the plan that `select` writes and `export` carries out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import UNSET, Meta, UnsetType

from emo_prune.architectures import MoELayer, MoEModel
from emo_prune.artifacts import (
    Count,
    Document,
    Part,
    Positive,
    data_frame,
    html_table,
)
from emo_prune.errors import BadSelection, EmoPruneError, FingerprintMismatch, Parameter
from emo_prune.facts import Calibration, SourceModel, Versions

if TYPE_CHECKING:
    from pandas import DataFrame

Kept = Annotated[tuple[Count, ...], Meta(min_length=1)]


class LayerSelection(Part, frozen=True, kw_only=True):
    """The choice for one layer.

    kept: original expert ids, ascending, shared experts included.
    retained_mass, retained_picks: share of the routed experts' probability, and of
        their top-k picks, that the kept ones hold on the calibration tokens.
    stability: share of routed experts chosen alike from both halves of the examples;
        None with one example, or for a random choice.
    effective_experts: exp(entropy) of the picks over routed experts.
    """

    layer: Count
    kept: Kept
    retained_mass: float
    retained_picks: float
    stability: float | None
    effective_experts: float


class Method(Part, frozen=True, kw_only=True):
    """How experts were chosen: the score; layer by layer (greedy) or in one pass."""

    score: str
    greedy: bool
    seed: Count | UnsetType = UNSET


class KeptExperts(Part, frozen=True, kw_only=True):
    """How many experts stay in each layer, shared ones included.

    keep: their share of all. num_experts_per_tok: the router's top-k afterwards.
    """

    keep: float
    num_experts: Positive
    num_experts_per_tok: Positive


class Selection(Document, frozen=True, kw_only=True, tag="emo-prune/selection/1"):
    """Which experts stay, for which model, chosen how and on what."""

    error: ClassVar[type[EmoPruneError]] = BadSelection
    made_by: ClassVar[str] = "select"

    model: SourceModel
    calibration: Calibration
    method: Method
    budget: KeptExperts
    layers: Annotated[tuple[LayerSelection, ...], Meta(min_length=1)]
    versions: Versions

    def __repr__(self) -> str:
        return (
            f"Selection({self.budget.num_experts} of {self.model.num_experts} experts "
            f"of {self.model.name}, {len(self.layers)} layers, by {self.method.score} "
            f"on {self.calibration.task})"
        )

    def _repr_html_(self) -> str:
        return html_table(
            ("layer", "effective experts", "kept picks", "kept mass", "kept"),
            [
                (
                    layer.layer,
                    f"{layer.effective_experts:.1f}",
                    f"{layer.retained_picks:.1%}",
                    f"{layer.retained_mass:.1%}",
                    ", ".join(map(str, layer.kept)),
                )
                for layer in self.layers
            ],
        )

    def to_pandas(self) -> DataFrame:
        """Return a line for each layer, with the columns of `LayerSelection`.

        Raises:
            ReportError: pandas is not installed.
        """
        return data_frame([layer.to_dict() for layer in self.layers])

    @property
    def kept(self) -> dict[int, tuple[int, ...]]:
        """Original ids of the kept experts, by layer."""
        return {layer.layer: layer.kept for layer in self.layers}

    @property
    def top_k(self) -> int:
        """The router's top-k after the export."""
        return self.budget.num_experts_per_tok


def load_selection(path: str | Path) -> Selection:
    """Read a selection.json.

    Raises:
        BadSelection: it is missing, or not a selection.
    """
    return Selection.load(path)


def check_selection(selection: Selection, model: MoEModel, fingerprint: str) -> None:
    """Check that a selection fits a model, before anything is written.

    Raises:
        FingerprintMismatch: it was made for another checkpoint.
        BadSelection: a layer is missing, or its experts are nonsense.
    """
    if selection.model.fingerprint != fingerprint:
        raise FingerprintMismatch(
            "the selection was made for another checkpoint",
            where=model.checkpoint.name,
            got=fingerprint,
            expected=f"{selection.model.fingerprint} ({selection.model.name})",
            hint=(
                *("give ", Parameter("model")),
                " the checkpoint it was made for, or run select again",
            ),
        )
    _check_model_facts(selection, model)
    listed = [layer.layer for layer in selection.layers]
    expected = [layer.layer for layer in model.layers]
    if listed != expected:
        raise BadSelection(
            "the selection does not list each layer with experts once",
            where="selection.json, layers",
            got=str(listed),
            expected=str(expected),
            hint="run select again, or mend the file",
        )
    for layer in model.layers:
        _check_layer(layer, selection.kept[layer.layer], selection, model)


def _check_model_facts(selection: Selection, model: MoEModel) -> None:
    """Check what model card and results say of the source: it may have been edited."""
    facts = {
        "model_type": model.architecture.model_type,
        "num_experts": model.num_experts,
        "num_shared_experts": model.num_shared_experts,
        "num_experts_per_tok": model.top_k,
    }
    for key, value in facts.items():
        said = getattr(selection.model, key)
        if said != value:
            raise BadSelection(
                "the selection says something else of the model than its config",
                where=f"selection.json, model.{key}",
                got=str(said),
                expected=str(value),
                hint="run select again, or mend the file",
            )


def _check_layer(
    layer: MoELayer, kept: tuple[int, ...], selection: Selection, model: MoEModel
) -> None:
    wanted = min(selection.budget.num_experts, layer.num_experts)
    most = min(model.top_k, len(kept) // model.num_groups * model.top_k_groups)
    least = min(model.top_k, len(layer.obligatory) + 1)
    problem = None
    if list(kept) != sorted(set(kept)):
        problem = "ids ascending, each once"
    elif kept and (kept[0] < 0 or kept[-1] >= layer.num_experts):
        problem = f"ids from 0 to {layer.num_experts - 1}"
    elif len(kept) != wanted:
        problem = f"{wanted} experts, as budget.num_experts says"
    elif not set(layer.obligatory) <= set(kept):
        problem = (
            f"shared and always-active experts {list(layer.obligatory)} among them"
        )
    elif not least <= selection.top_k <= most:
        problem = f"a num_experts_per_tok from {least} to {most}"
    elif model.num_groups > 1 and not _groups_equal(kept, layer.num_experts, model):
        problem = f"the same number from each of the {model.num_groups} groups"
    if problem:
        raise BadSelection(
            "the selection of a layer is not possible",
            where=f"selection.json, layer {layer.layer}",
            got=str(list(kept)),
            expected=problem,
            hint="run select again, or mend the file",
        )


def _groups_equal(kept: tuple[int, ...], num_experts: int, model: MoEModel) -> bool:
    size = num_experts // model.num_groups
    counts = [0] * model.num_groups
    for expert in kept:
        counts[expert // size] += 1
    return len(set(counts)) == 1
