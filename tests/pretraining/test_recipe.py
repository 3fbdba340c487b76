from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from emo_prune.errors import BadRecipe
from emo_prune.pretraining import Recipe, for_variant, read_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_of_the_package_can_be_read(name: str) -> None:
    assert read_recipe(name).main_steps > 0


def test_the_papers_recipe_has_the_papers_numbers() -> None:
    recipe = read_recipe("emo-1b14b")
    assert recipe.tokens_per_step == 4_194_304
    assert recipe.main_steps == pytest.approx(238_419, abs=1)
    assert recipe.anneal_steps == pytest.approx(11_920, abs=1)
    assert (recipe.load_balancing_coef, recipe.router_z_loss_coef) == (0.1, 0.001)
    assert recipe.num_experts_per_tok * recipe.intermediate_size == 8192  # the dense


def test_settings_are_changed_by_text() -> None:
    recipe = read_recipe(
        "tiny-cpu",
        {"tokens": "2e6", "learning_rate": "1e-3", "document_masking": "false"},
    )
    assert recipe.tokens == 2_000_000
    assert recipe.learning_rate == 1e-3
    assert recipe.document_masking is False


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tokns": "1"}, "tokns"),
        ({"tokens": "many"}, "whole number"),
        ({"tokens": "1.5"}, "whole number"),
        ({"learning_rate": "nan"}, "a number"),
        ({"learning_rate": "-1"}, "a number"),
        ({"balance": "world"}, "global or accumulated or local"),
        ({"document_masking": "1"}, "true or false"),
        ({"pool_min": "2"}, "pool_min"),
        ({"pool_min": "9", "pool_max": "8"}, "pool_min"),
        ({"num_experts_per_tok": "65"}, "num_experts_per_tok"),
        ({"hidden_size": "130"}, "hidden_size"),
        ({"batch_size": "17"}, "batch_size"),
        ({"sequence_length": "1"}, "sequence_length"),
        ({"save_steps": "0"}, "save_steps"),
        ({"small_num_experts": "2"}, "small_num_experts"),
    ],
)
def test_wrong_settings_are_refused_by_name(changes: dict[str, str], says: str) -> None:
    with pytest.raises(BadRecipe, match=says):
        read_recipe("tiny-cpu", changes)


def test_a_file_is_a_recipe_too(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    lines = [
        f"{key} = {json.dumps(value)}"
        for key, value in asdict(read_recipe("tiny-cpu")).items()
    ]
    file.write_text("\n".join(lines))
    assert read_recipe(str(file)) == read_recipe("tiny-cpu")
    file.write_text("\n".join(line for line in lines if "num_experts =" not in line))
    with pytest.raises(BadRecipe, match=r"lacks settings.*num_experts"):
        read_recipe(str(file))
    file.write_text("tokens = = 3")
    with pytest.raises(BadRecipe, match="cannot be read"):
        read_recipe(str(file))
    with pytest.raises(BadRecipe, match="no such recipe"):
        read_recipe("big-gpu")


def test_variants_change_sizes_and_lengths_alone(recipe: Recipe) -> None:
    assert for_variant(recipe, "standard") == recipe
    assert for_variant(recipe, "dense") == recipe
    assert for_variant(recipe, "small-standard").num_experts == 4
    assert for_variant(recipe, "emo-anneal").main_steps == 0
