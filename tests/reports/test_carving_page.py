"""A carved checkpoint on the page: what it saves a token, and how modular it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emo_prune.cli import main
from emo_prune.errors import EmoPruneError
from tests.cli.conftest import MADE_UP
from tests.evaluation.tiny import byte_tokenizer
from tests.reports.conftest import html_of
from tests.reports.test_hostile_artifacts import assert_shown_or_named
from tests.reports.test_page import Reader, numbers
from tests.tiny_emoe import dense_model


@pytest.fixture(scope="module")
def carved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A carved model, measured on examples, and one of its halves: do not change."""
    work = tmp_path_factory.mktemp("carved")
    dense_model("llama").save_pretrained(work / "dense")
    byte_tokenizer().save_pretrained(work / "dense")
    asked = work / "asked.jsonl"
    asked.write_text("".join(json.dumps(row) + "\n" for row in MADE_UP))
    on = ["--examples", str(asked)]
    whole, half = str(work / "carved"), str(work / "half")
    selection = str(work / "selection.json")
    for arguments in (
        ["carve", str(work / "dense"), "-o", whole, "-n", "8", "--top-k", "2",
         "--layers", "1,2", *on],
        ["select", "-m", whole, *on, "--keep", "50%", "-o", selection],
        ["export", "-m", whole, "-s", selection, "-o", half],
    ):  # fmt: skip
        assert main(arguments) == 0, arguments
    return work


def record(carved: Path) -> Any:
    return json.loads((carved / "carved/carving.json").read_text())


def edited(carved: Path, file: Path, edit: Callable[[Any], object]) -> Path:
    value = record(carved)
    edit(value)
    file.write_text(json.dumps(value))
    return file


def test_a_carved_checkpoint_is_shown_with_the_numbers_of_its_record(
    carved: Path,
) -> None:
    text = html_of(carved / "carved")
    assert "Carving: 2 of 3 layers of dense into 8 experts" in text
    shown = Reader(text).exact
    value = record(carved)
    for part in (
        value["layers"],
        value["num_parameters"],
        value["ffn_flops_per_token"],
    ):
        for number in numbers(part):
            assert number in shown
    for layer in value["measured"]["layers"]:
        assert layer["picked_energy"] in shown
        assert max(layer["load"]) in shown


def test_the_load_of_every_expert_has_its_cell(carved: Path) -> None:
    reader = Reader(html_of(carved / "carved"))
    paths = [a for tag, a in reader.elements if tag == "path"]
    assert sum(str(path["d"]).count("M") for path in paths) == 2 * 8
    # The busiest of a layer are in the strongest colour.
    assert "kept5" in {path["class"] for path in paths}


def test_the_export_of_a_carved_checkpoint_shows_both_records(carved: Path) -> None:
    text = html_of(carved / "half")
    assert "Export: 4 of 8 experts" in text
    assert "Carving: 2 of 3 layers" in text


def test_a_carving_that_was_not_measured_has_no_pictures(
    carved: Path, tmp_path: Path
) -> None:
    file = edited(carved, tmp_path / "carving.json", lambda v: v.update(measured=None))
    text = html_of(file)
    assert "Carved layers" in text
    assert "<svg" not in text


@pytest.mark.parametrize(
    ("name", "value"), [("layers", []), ("num_parameters", "many"), ("model", {})]
)
def test_a_carving_that_breaks_its_schema_is_named(
    carved: Path, tmp_path: Path, name: str, value: Any
) -> None:
    file = edited(carved, tmp_path / "carving.json", lambda v: v.update({name: value}))
    with pytest.raises(EmoPruneError, match=r"carving\.json"):
        html_of(file)


def test_any_value_in_a_carving_ends_in_a_page_or_a_named_error(
    carved: Path, tmp_path: Path
) -> None:
    assert_shown_or_named(tmp_path / "carving.json", record(carved))


def test_a_carving_says_what_it_saves(carved: Path) -> None:
    value = record(carved)
    saved = 100 * value["ffn_flops_per_token"] / value["dense_ffn_flops_per_token"]
    text = html_of(carved / "carved/carving.json")
    assert "2 of 3 layers of dense are 8 experts each" in text
    assert f"a token picks 2: {saved:.1f}" in text
