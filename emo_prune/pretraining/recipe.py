"""A recipe: everything that decides a training, apart from the text it reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from emo_prune.errors import BadRecipe, Parameter, SettingsError
from emo_prune.files import strict_toml
from emo_prune.options import PretrainOptions, several

Variant = Literal["emo", "standard", "dense", "small-standard", "emo-anneal"]

_MOST = 10**15  # of anything that is counted
_POSITIVE = ("hidden_size", "num_hidden_layers", "num_attention_heads",
             "intermediate_size", "vocab_size", "sequence_length", "batch_size",
             "micro_batch_size", "log_steps", "save_steps")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The settings of a pretraining, as in a recipe's TOML file.

    Defaults are the EMO authors'. `num_experts` and `num_experts_per_tok` count shared
    experts, pool sizes do not. Batches are counted in sequences: `batch_size` of them
    make an optimiser step, over all processes and accumulations; `micro_batch_size` go
    through the model of one process at once.
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int  # of one expert
    num_experts: int
    num_shared_experts: int
    num_experts_per_tok: int
    small_num_experts: int  # of the variant small-standard
    vocab_size: int  # rows of the embedding; what a tokenizer is trained to
    rope_theta: float
    initializer_range: float = 0.02

    pool_min: int  # d is drawn from both and all between; the same twice fixes it
    pool_max: int
    balance: Literal["global", "accumulated", "local"] = "global"
    load_balancing_coef: float = 0.1  # divided by the layers, as the next
    router_z_loss_coef: float = 0.001
    head_z_loss_coef: float = 1e-5

    sequence_length: int
    document_masking: bool = True  # attention stays within a document
    max_repeats: int = 0  # in a row; a window with more has no loss (0: has)
    batch_size: int
    micro_batch_size: int
    tokens: int  # warm-up and cosine
    anneal_tokens: int  # then linearly to nothing

    learning_rate: float
    warmup_steps: int
    final_lr_fraction: float = 0.1  # of the learning rate, where the cosine ends
    weight_decay: float = 0.1  # not of embeddings
    adam_beta1: float = 0.9
    adam_beta2: float = 0.95
    max_grad_norm: float = 1.0
    precision: Literal["float32", "bfloat16"]  # bfloat16: autocast, weights float32
    experts_implementation: str = "grouped_mm"
    gradient_checkpointing: bool
    seed: int  # of the weights
    data_seed: int  # of the order of documents and the sizes of pools
    log_steps: int
    save_steps: int
    save_dtype: Literal["float32", "bfloat16"] = "bfloat16"  # of the result

    @property
    def tokens_per_step(self) -> int:
        """Tokens an optimiser step sees."""
        return self.batch_size * self.sequence_length

    @property
    def main_steps(self) -> int:
        """Optimiser steps of warm-up and cosine."""
        return round(self.tokens / self.tokens_per_step)

    @property
    def anneal_steps(self) -> int:
        """Optimiser steps of the linear annealing."""
        return round(self.anneal_tokens / self.tokens_per_step)

    def __post_init__(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            BadRecipe: names the setting.
        """
        for key, kind in get_type_hints(Recipe).items():
            _check_type(key, getattr(self, key), kind)
        _check_sizes(self)


def recipe_of(options: PretrainOptions) -> Recipe:
    """Return the recipe that options ask for, as their variant changes it.

    Raises:
        BadRecipe: no such recipe, unknown or missing settings, wrong values.
    """
    texts: tuple[str, ...] = several(options.settings)
    given = [parse_setting(text) for text in texts]
    for key in ("tokens", "seed", "vocab_size"):  # which have options of their own
        if (value := getattr(options, key)) is not None:
            given.append((key, str(value)))
    changes = dict(given)
    if len(changes) < len(given):
        names = [key for key, _ in given]
        twice = next(key for key in names if names.count(key) > 1)
        raise SettingsError(
            "a setting is given twice",
            where=twice,
            got=" and ".join(value for key, value in given if key == twice),
            hint="give it once",
        )
    return for_variant(read_recipe(str(options.recipe), changes), options.variant)


def parse_setting(
    text: str, where: Parameter = Parameter("settings")
) -> tuple[str, str]:
    """Return name and value of "learning_rate=1e-3".

    Raises:
        SettingsError: it is not of that form.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise SettingsError(
            "a setting has no value",
            where=where,
            got=f"{text!r:.200}",
            expected="NAME=VALUE",
            hint=("for example ", Parameter("settings", "learning_rate=1e-3")),
        )
    return key.strip(), value.strip()


def recipe_names() -> list[str]:
    """Return the recipes that come with the package."""
    folder = resources.files("emo_prune.pretraining") / "recipes"
    return sorted(Path(file.name).stem for file in folder.iterdir())


def read_recipe(name: str, changes: Mapping[str, str] | None = None) -> Recipe:
    """Read a recipe of the package, or a TOML file, and change some settings.

    `changes` are texts as typed: `{"tokens": "2e6", "balance": "local"}`.

    Raises:
        BadRecipe: no such recipe, unknown or missing settings, wrong values.
    """
    values = _values(name)
    for key, text in (changes or {}).items():
        values[key] = _parsed(key, text)
    known = {field.name for field in fields(Recipe)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise BadRecipe(
            "the recipe has settings that do not exist",
            where=name,
            got=", ".join(unknown),
            expected=", ".join(sorted(known)),
            hint="remove or rename them",
        )
    try:
        return Recipe(**values)
    except TypeError:
        have = set(values)
        needed = {
            key
            for key, field in Recipe.__dataclass_fields__.items()
            if field.default is field.default_factory  # neither: it has no default
        }
        raise BadRecipe(
            "the recipe lacks settings",
            where=name,
            got=", ".join(sorted(needed - have)),
            hint="add them, or begin with a recipe of the package: "
            + ", ".join(recipe_names()),
        ) from None


def for_variant(recipe: Recipe, variant: Variant) -> Recipe:
    """Return the recipe with what a variant changes in its sizes and lengths."""
    if variant == "small-standard":
        return replace(recipe, num_experts=recipe.small_num_experts)
    if variant == "emo-anneal":
        return replace(recipe, tokens=0, warmup_steps=0)
    return recipe


def _values(name: str) -> dict[str, Any]:
    if name in recipe_names():
        folder = resources.files("emo_prune.pretraining") / "recipes"
        return strict_toml((folder / f"{name}.toml").read_bytes())
    path = Path(name)
    if not path.is_file():
        raise BadRecipe(
            "there is no such recipe",
            where=Parameter("recipe"),
            got=name,
            expected=f"{', '.join(recipe_names())}, or a TOML file",
            hint="give one of these names",
        )
    try:
        return strict_toml(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadRecipe(
            "the recipe cannot be read",
            where=name,
            got=str(error),
            hint="correct the file",
        ) from None


def _parsed(key: str, text: str) -> str | bool | int | float:
    """Return a typed setting as its field wants it, or the text if nothing fits."""
    kind = get_type_hints(Recipe).get(key)
    try:
        if kind is int:
            number = float(text.replace("_", ""))
            return int(number) if number.is_integer() else text
        if kind is float:
            return float(text)
    except ValueError:
        return text
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    return text


def _check_type(key: str, value: object, kind: type) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {
        float: number and 0 <= value < math.inf,  # type: ignore[operator]
        int: number and isinstance(value, int) and 0 <= value < _MOST,
        bool: isinstance(value, bool),
        str: isinstance(value, str),
    }.get(kind, value in get_args(kind))
    if fits:
        return
    expected = {
        int: f"a whole number below {_MOST:.0e}",
        float: "a number",
        bool: "true or false",
    }
    raise _bad_setting(
        "a setting has no value it could have",
        key,
        f"{value!r:.200}",
        expected.get(kind, " or ".join(get_args(kind))),
    )


def _check_sizes(recipe: Recipe) -> None:
    for key in _POSITIVE:
        _need(getattr(recipe, key) >= 1, recipe, key, "1 or more")
    shared, heads = recipe.num_shared_experts, recipe.num_attention_heads
    picks = recipe.num_experts_per_tok
    least = picks - shared  # routed experts that a token picks
    for key, holds, expected in (
        ("hidden_size", recipe.hidden_size % (2 * heads) == 0,
         f"a multiple of 2 x {heads} (heads)"),
        ("num_experts_per_tok", shared < picks <= recipe.num_experts,
         f"{1 + shared} to {recipe.num_experts} (num_experts)"),
        ("pool_min", least <= recipe.pool_min <= recipe.pool_max,
         f"{least} (routed experts of a token) to {recipe.pool_max} (pool_max)"),
        ("small_num_experts", picks <= recipe.small_num_experts, f"{picks} or more"),
        ("batch_size", recipe.batch_size % recipe.micro_batch_size == 0,
         f"a multiple of {recipe.micro_batch_size} (micro_batch_size)"),
        ("sequence_length", recipe.sequence_length >= 2, "2 or more"),
        ("seed", recipe.seed < 2**32, "less than 2**32"),
        ("adam_beta1", recipe.adam_beta1 < 1, "less than 1"),
        ("adam_beta2", recipe.adam_beta2 < 1, "less than 1"),
    ):  # fmt: skip
        _need(holds, recipe, key, expected)


def _need(holds: bool, recipe: Recipe, key: str, expected: str) -> None:
    if not holds:
        got = getattr(recipe, key)
        raise _bad_setting("the recipe contradicts itself", key, got, expected)


def _bad_setting(what: str, key: str, got: object, expected: str) -> BadRecipe:
    return BadRecipe(
        what,
        where=key,
        got=got,
        expected=expected,
        hint=(
            "correct it in the recipe, or with ",
            Parameter("settings", f"{key}=VALUE"),
        ),
    )


def lr_factor(step: int, recipe: Recipe) -> float:
    """Return the learning rate of a step, counted from 0, as a share of the peak.

    It rises linearly over the warm-up, falls as half a cosine to `final_lr_fraction`,
    and from there, over the annealing, linearly to 0.
    """
    main, floor = recipe.main_steps, recipe.final_lr_fraction
    if step < min(recipe.warmup_steps, main):
        return (step + 1) / (recipe.warmup_steps + 1)
    if step < main:
        progress = (step - recipe.warmup_steps) / (main - recipe.warmup_steps)
        return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2
    return floor * max(0.0, 1 - (step - main) / max(1, recipe.anneal_steps))
