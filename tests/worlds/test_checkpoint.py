"""The models that come with the package."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Literal

import pytest

from benchmarks.worlds import WORLDS, checkpoint
from emo_prune.architectures.opening import open_model
from emo_prune.pretraining import read_recipe

Variant = Literal["emo", "standard"]
VARIANTS: tuple[Variant, ...] = ("emo", "standard")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_checkpoint_says_how_it_was_trained(variant: Variant) -> None:
    record = json.loads((checkpoint(variant) / "emo_prune.json").read_text())
    assert record["variant"] == variant
    recipe = asdict(read_recipe("worlds"))
    assert {key: recipe[key] for key in record["recipe"]} == record["recipe"]
    assert {one["name"] for one in record["data"]["domains"]} == set(WORLDS)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_checkpoint_is_one_that_the_road_takes(variant: Variant) -> None:
    model = open_model(str(checkpoint(variant)))
    assert [layer.num_experts for layer in model.layers] == [64] * 3


def test_all_of_them_take_less_than_twelve_megabytes() -> None:
    files = [file for one in VARIANTS for file in checkpoint(one).iterdir()]
    assert sum(file.stat().st_size for file in files) < 12e6
