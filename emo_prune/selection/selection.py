"""`selection.json`: the plan that `select` writes and `export` carries out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any

from emo_prune.architectures import MoELayer, MoEModel
from emo_prune.errors import BadSelection, FingerprintMismatch
from emo_prune.files import readable_json, sha256_text, strict_json

SCHEMA = "emo-prune/selection/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSelection:
    """The choice for one layer.

    kept: original expert ids, ascending, shared experts included.
    retained_mass, retained_picks: share of the routed experts' probability, and of
        their top-k picks, that the kept ones hold on the calibration tokens.
    stability: share of routed experts chosen alike from both halves of the examples;
        None with one example, or for a random choice.
    effective_experts: exp(entropy) of the picks over routed experts.
    """

    layer: int
    kept: tuple[int, ...]
    retained_mass: float
    retained_picks: float
    stability: float | None
    effective_experts: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which experts stay, for which model, chosen how and on what."""

    model: Mapping[str, Any]
    calibration: Mapping[str, Any]
    method: Mapping[str, Any]
    budget: Mapping[str, Any]
    layers: tuple[LayerSelection, ...]
    versions: Mapping[str, str]

    @property
    def kept(self) -> dict[int, tuple[int, ...]]:
        """Original ids of the kept experts, by layer."""
        return {layer.layer: layer.kept for layer in self.layers}

    @property
    def top_k(self) -> int:
        """The router's top-k after the export."""
        return int(self.budget["num_experts_per_tok"])

    @property
    def sha256(self) -> str:
        """The hash of the selection's text."""
        return sha256_text(self.to_text())

    def to_json(self) -> dict[str, Any]:
        """Return the value that selection.json holds."""
        layers = [{**asdict(layer), "kept": list(layer.kept)} for layer in self.layers]
        return {
            "schema": SCHEMA,
            "model": dict(self.model),
            "calibration": dict(self.calibration),
            "method": dict(self.method),
            "budget": dict(self.budget),
            "layers": layers,
            "versions": dict(self.versions),
        }

    def to_text(self) -> str:
        """Return the text of selection.json; the same selection, the same bytes."""
        return readable_json(self.to_json())


@cache
def selection_schema() -> dict[str, Any]:
    """Return the JSON Schema of selection.json."""
    text = resources.files(__package__).joinpath("selection.schema.json").read_text()
    schema: dict[str, Any] = strict_json(text)
    return schema


def parse_selection(text: str, file: str) -> Selection:
    """Read selection.json; `file` is its name, for errors.

    Raises:
        BadSelection: it is not JSON, or breaks the schema.
    """
    try:
        value = strict_json(text)
    except ValueError as error:
        raise BadSelection(
            "the selection is not valid JSON",
            where=file,
            got=str(error),
            hint="run select again, or mend the file",
        ) from None
    return selection_from_json(value, file)


def selection_from_json(value: Any, file: str) -> Selection:
    """Return the selection a JSON value holds, checked against the schema.

    Raises:
        BadSelection: it breaks the schema.
    """
    import fastjsonschema

    validate = fastjsonschema.compile(selection_schema())
    try:
        validate(value)
    except fastjsonschema.JsonSchemaValueException as problem:
        raise BadSelection(
            "the selection breaks its schema",
            where=file,
            got=problem.message,
            hint="run select again, or mend the file",
        ) from None
    # JSON Schema takes 3.0 for an integer; nothing else here would.
    layers = tuple(
        LayerSelection(
            **{
                **layer,
                "layer": int(layer["layer"]),
                "kept": tuple(int(expert) for expert in layer["kept"]),
            }
        )
        for layer in value["layers"]
    )
    return Selection(
        model=value["model"],
        calibration=value["calibration"],
        method=value["method"],
        budget=value["budget"],
        layers=layers,
        versions=value["versions"],
    )


def check_selection(selection: Selection, model: MoEModel, fingerprint: str) -> None:
    """Check that a selection fits a model, before anything is written.

    Raises:
        FingerprintMismatch: it was made for another checkpoint.
        BadSelection: a layer is missing, or its experts are nonsense.
    """
    if selection.model["fingerprint"] != fingerprint:
        raise FingerprintMismatch(
            "the selection was made for another checkpoint",
            where=model.checkpoint.name,
            got=fingerprint,
            expected=f"{selection.model['fingerprint']} ({selection.model['name']})",
            hint="give --model the checkpoint it was made for, or run select again",
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
        if selection.model[key] != value:
            raise BadSelection(
                "the selection says something else of the model than its config",
                where=f"selection.json, model.{key}",
                got=str(selection.model[key]),
                expected=str(value),
                hint="run select again, or mend the file",
            )


def _check_layer(
    layer: MoELayer, kept: tuple[int, ...], selection: Selection, model: MoEModel
) -> None:
    wanted = min(int(selection.budget["num_experts"]), layer.num_experts)
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
