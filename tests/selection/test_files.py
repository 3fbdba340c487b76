"""selection.json and scores.safetensors: round trips, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from safetensors.numpy import load_file, save_file

from emo_prune.architectures import MoEModel, fingerprint
from emo_prune.artifacts import json_schema
from emo_prune.errors import BadSelection, EmoPruneError, FingerprintMismatch
from emo_prune.routing import LayerRouting
from emo_prune.selection import (
    LayerSelection,
    Limits,
    ScoresFile,
    Selection,
    check_selection,
    read_scores,
    write_scores,
)
from tests.tiny_checkpoints import (
    CONFIG,
    EMO,
    moe_blobs,
    opened,
    selection_of,
    write_checkpoint,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> MoEModel:
    return opened(write_checkpoint(tmp_path_factory.mktemp("model"), EMO))


@pytest.fixture
def value(model: MoEModel) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(selection_of(model, (0, 3, 5, 7)).to_text())
    return found


def test_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(json_schema("emo-prune/selection/1"))


def test_round_trip_gives_the_same_bytes(model: MoEModel) -> None:
    selection = selection_of(model, (0, 3, 5, 7))
    text = selection.to_text()
    again = Selection.from_text(text, "selection.json")
    assert again == selection
    assert again.to_text() == text
    assert again.sha256 == selection.sha256
    check_selection(again, model, fingerprint(model))


def test_whole_numbers_written_as_floats_are_whole_numbers(
    model: MoEModel, value: dict[str, Any]
) -> None:
    value["layers"][0]["kept"] = [0.0, 3.0, 5.0, 7.0]
    value["layers"][0]["layer"] = 0.0
    selection = Selection.from_text(json.dumps(value), "selection.json")
    assert repr(selection.kept[0]) == "(0, 3, 5, 7)"
    check_selection(selection, model, fingerprint(model))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        '{"schema": "emo-prune/selection/1"}',
        '{"a": 1, "a": 2}',
        "[" * 100_000,
        "[" * 100 + "]" * 100,
        "9" * 5000,
    ],
)
def test_text_that_is_no_selection_is_named(text: str) -> None:
    with pytest.raises(BadSelection) as caught:
        Selection.from_text(text, "file.json")
    assert "file.json" in str(caught.value.where)
    assert caught.value.hint


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "another schema": lambda v: v.update(schema="emo-prune/selection/2"),
    "an unknown key": lambda v: v.update(note="mine"),
    "an unknown key in a layer": lambda v: v["layers"][0].update(note="mine"),
    "no layers": lambda v: v.update(layers=[]),
    "no fingerprint": lambda v: v["model"].pop("fingerprint"),
    "a short fingerprint": lambda v: v["model"].update(fingerprint="sha256:00"),
    "no budget": lambda v: v.pop("budget"),
    "a text for an id": lambda v: v["layers"][0].update(kept=["0"]),
    "a bool for an id": lambda v: v["layers"][0].update(kept=[True, 3, 5, 7]),
    "a fraction for an id": lambda v: v["layers"][0].update(kept=[0.5]),
    "a negative id": lambda v: v["layers"][0].update(kept=[-1, 3, 5, 7]),
    "no ids": lambda v: v["layers"][0].update(kept=[]),
    "a share that is no number": lambda v: v["layers"][0].update(
        retained_mass=float("nan")
    ),
    "an infinite share": lambda v: v["layers"][0].update(stability=float("inf")),
    "half a surrogate": lambda v: v["calibration"].update(task="\ud800"),
    "a top-k of zero": lambda v: v["budget"].update(num_experts_per_tok=0),
    "a version that is no text": lambda v: v["versions"].update(torch=2),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edit_that_breaks_the_schema_is_named(value: dict[str, Any], edit: str) -> None:
    EDITS[edit](value)
    with pytest.raises(BadSelection) as caught:
        Selection.from_text(json.dumps(value), "selection.json")
    assert caught.value.hint


NONSENSE: dict[str, Callable[[dict[str, Any]], object]] = {
    "an expert twice": lambda v: v["layers"][1].update(kept=[0, 3, 3, 7]),
    "an expert out of range": lambda v: v["layers"][1].update(kept=[0, 3, 7, 8]),
    "an enormous id": lambda v: v["layers"][1].update(kept=[0, 3, 7, 1e90]),
    "too few": lambda v: v["layers"][1].update(kept=[0, 3, 7]),
    "too many": lambda v: v["layers"][1].update(kept=[0, 1, 3, 5, 7]),
    "an order of its own": lambda v: v["layers"][1].update(kept=[3, 0, 5, 7]),
    "no shared expert": lambda v: v["layers"][1].update(kept=[0, 3, 5, 6]),
    "a layer missing": lambda v: v["layers"].pop(),
    "a layer twice": lambda v: v["layers"].append(v["layers"][0]),
    "a layer too many": lambda v: v["layers"].append({**v["layers"][0], "layer": 2}),
    "layers in another order": lambda v: v["layers"].reverse(),
    "another number of experts": lambda v: v["budget"].update(num_experts=5),
    "a larger top-k": lambda v: v["budget"].update(num_experts_per_tok=4),
    "a top-k of shared experts": lambda v: v["budget"].update(num_experts_per_tok=1),
}


@pytest.mark.parametrize("edit", NONSENSE)
def test_edit_into_nonsense_is_named(
    model: MoEModel, value: dict[str, Any], edit: str
) -> None:
    NONSENSE[edit](value)
    selection = Selection.from_text(json.dumps(value), "selection.json")
    with pytest.raises(BadSelection) as caught:
        check_selection(selection, model, fingerprint(model))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("kept", "top_k", "possible"),
    [
        ((0, 1, 4, 5), 2, True),
        ((1, 3, 4, 6), 2, True),
        ((0, 1, 2, 4), 2, False),  # three of one group
        ((0, 1, 4, 5), 3, False),  # no group has three
        ((0, 4), 1, True),
        ((0, 4), 2, False),
    ],
)
def test_groups_bound_what_is_possible(
    tmp_path: Path, kept: tuple[int, ...], top_k: int, possible: bool
) -> None:
    config = CONFIG | {"model_type": "deepseek_v3", "n_group": 2, "topk_group": 1}
    model = opened(write_checkpoint(tmp_path, config | {"num_experts_per_tok": 3}))
    selection = selection_of(model, kept, top_k)
    if possible:
        check_selection(selection, model, fingerprint(model))
    else:
        with pytest.raises(BadSelection):
            check_selection(selection, model, fingerprint(model))


def test_selection_for_another_checkpoint_is_named(
    model: MoEModel, tmp_path: Path
) -> None:
    blobs = moe_blobs()
    name = "model.layers.1.mlp.gate.weight"
    dtype, shape, data = blobs[name]
    blobs[name] = (dtype, shape, bytes(len(data)))
    other = opened(write_checkpoint(tmp_path, EMO, blobs))
    selection = selection_of(model, (0, 3, 5, 7))
    with pytest.raises(FingerprintMismatch) as caught:
        check_selection(selection, other, fingerprint(other))
    assert selection.model.fingerprint in str(caught.value)
    assert caught.value.hint


# --- scores.safetensors -------------------------------------------------------------


@pytest.fixture
def scores(model: MoEModel) -> ScoresFile:
    selection = selection_of(model, (0, 3, 5, 7))
    random = np.random.default_rng(0)

    def layer(number: int) -> LayerRouting:
        sums = random.random((4, 2, 8))
        return LayerRouting(
            layer=number,
            num_tokens=np.array([7, 6]),
            picks=random.integers(0, 9, (2, 8)),
            mass=sums[0],
            weighted_norms=sums[1] if number else None,
            token_weighted=sums[2] if number else None,
        )

    return ScoresFile(
        model=selection.model,
        calibration=selection.calibration,
        versions=selection.versions,
        limits=Limits.of(model),
        layers=(layer(0), layer(1)),
    )


def arrays_of(layer: LayerRouting) -> dict[str, Any]:
    found = {f.name: getattr(layer, f.name) for f in dataclasses.fields(layer)}
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in found.items()}


def test_scores_round_trip(scores: ScoresFile, tmp_path: Path) -> None:
    write_scores(tmp_path / "a", scores)
    write_scores(tmp_path / "b", copy.deepcopy(scores))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    again = read_scores(tmp_path / "a")
    assert again.limits == scores.limits
    assert again.model == scores.model
    assert again.calibration.to_dict() == scores.calibration.to_dict()
    assert list(map(arrays_of, again.layers)) == list(map(arrays_of, scores.layers))


def test_missing_scores_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(BadSelection) as caught:
            read_scores(path)
        assert caught.value.hint


def test_other_safetensors_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSelection):
        read_scores(write_checkpoint(tmp_path) / "model.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        {"limits": None},
        {"limits": {}},
        {"limits.num_experts": [8, 8]},
        {"limits.num_experts": {"0": 7, "1": 8}},
        {"limits.num_experts": {"0": 8}},
        {"limits.num_experts": {}},
        {"limits.num_experts": {"x": 8}},
        {"limits.obligatory": {"0": 7, "1": 7}},
        {"limits.top_k": "4"},
        {"limits.top_k": None},
        {"schema": "emo-prune/scores/2"},
        {"model": {}},
        {"model": None},
        {"calibration": []},
        {"versions": {"torch": 2}},
    ],
    ids=str,
)
def test_header_that_makes_no_sense_is_named(
    scores: ScoresFile, tmp_path: Path, change: dict[str, Any]
) -> None:
    path = tmp_path / "scores"
    write_scores(path, scores)
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    facts = json.loads(header["__metadata__"]["emo_prune"])
    ((key, new),) = change.items()
    *parents, last = key.split(".")
    place = facts[parents[0]] if parents else facts
    place[last] = new
    save_file(load_file(path), path, {"emo_prune": json.dumps(facts)})
    with pytest.raises(BadSelection) as caught:
        read_scores(path)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["picks", "mass", "num_tokens"])
def test_array_of_another_kind_is_named(
    scores: ScoresFile, tmp_path: Path, name: str
) -> None:
    array = getattr(scores.layers[0], name)
    for wrong in (
        array.astype(np.float32),
        array[:1],
        array.T if array.ndim > 1 else array[:0],
    ):
        layer = dataclasses.replace(scores.layers[0], **{name: wrong})
        layers = (layer, scores.layers[1])
        write_scores(tmp_path / "scores", dataclasses.replace(scores, layers=layers))
        with pytest.raises(BadSelection):
            read_scores(tmp_path / "scores")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scores") / "scores"


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_scores_are_read_or_named(
    model: MoEModel, place: Path, data: st.DataObject
) -> None:
    selection = selection_of(model, (0, 3, 5, 7))
    ones = np.ones((2, 8))
    layers = tuple(
        LayerRouting(layer=i, num_tokens=np.array([1, 1]),
                     picks=ones.astype(np.int64), mass=ones)
        for i in range(2)
    )  # fmt: skip
    whole = ScoresFile(model=selection.model, calibration=selection.calibration,
                       versions={}, limits=Limits.of(model), layers=layers)  # fmt: skip
    write_scores(place, whole)
    raw = bytearray(place.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    place.write_bytes(raw[: data.draw(st.integers(0, len(raw)) | st.just(len(raw)))])
    error = None
    try:
        read_scores(place)
    except EmoPruneError as refusal:
        error = refusal
    assert error is None or (isinstance(error, BadSelection) and error.hint)


def test_a_selection_shows_itself_in_a_line_and_as_a_table(model: MoEModel) -> None:
    selection = selection_of(model, (0, 3, 5, 7))
    assert repr(selection) == (
        f"Selection(4 of 8 experts of {model.checkpoint.name}, 2 layers, by frequency "
        "on made-up)"
    )
    assert "<td>0, 3, 5, 7</td>" in selection._repr_html_()
    table = selection.to_pandas()
    assert list(table.columns) == list(LayerSelection.__struct_fields__)
    assert table["kept"].tolist() == [[0, 3, 5, 7]] * 2
