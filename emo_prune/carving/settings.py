"""How a dense model is to be carved; and what of it makes no sense."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from emo_prune.carving.clustering import METHODS, Method
from emo_prune.carving.dense import DenseModel
from emo_prune.errors import CarvingError, SettingsError

GateSource = Literal["gate", "up", "inter"]
_PART = re.compile(r"(\d{1,6})(?:-(\d{1,6})(?::(\d{1,6}))?)?", re.ASCII)
_LAST = re.compile(r"last:(\d{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class CarveSettings:
    """How to carve.

    num_experts, top_k: N and k of each carved layer. layers: "all", "last:4",
    "20-28:2" (both ends included) or "3,5,7". method: how neurons are grouped.
    gate_source: whose rows an expert's score averages, or its activations ("inter").
    seed: of the clustering.
    """

    num_experts: int = 16
    top_k: int = 8
    layers: str = "last:2"
    method: Method = "kmeans"
    gate_source: GateSource = "gate"
    seed: int = 0


def check_settings(settings: CarveSettings, model: DenseModel) -> tuple[int, ...]:
    """Return the layers to carve, ascending.

    Raises:
        CarvingError: the model cannot be carved so.
        SettingsError: there is no such method, gate or list of layers.
    """
    _check_names(settings)
    _check_numbers(settings, model.size)
    if settings.gate_source == "up" and model.feed_forward.up is None:
        raise CarvingError(
            "this model's feed-forward layers have no up matrix",
            where="--gate",
            got="up",
            expected="gate or inter",
            hint="try --gate gate, the paper's",
        )
    return parse_layers(settings.layers, model.num_layers)


def parse_layers(text: str, num_layers: int) -> tuple[int, ...]:
    """Return the layers that a text such as "all", "last:4" or "20-28:2" names.

    Raises:
        SettingsError: it names none, or some that are not there.
    """
    plain = text.strip().lower()
    if plain == "all":
        return tuple(range(num_layers))
    if last := _LAST.fullmatch(plain):
        number = int(last[1])
        if not 1 <= number <= num_layers:
            raise _bad_layers(text, num_layers)
        return tuple(range(num_layers - number, num_layers))
    found: set[int] = set()
    for part in plain.split(","):
        found.update(_part(part.strip(), text, num_layers))
    return tuple(sorted(found))


def _part(part: str, text: str, num_layers: int) -> range:
    """Return the layers of "7", "3-9" or "3-9:2"."""
    matched = _PART.fullmatch(part)
    if matched is None:
        raise _bad_layers(text, num_layers)
    first = int(matched[1])
    last = int(matched[2] or first)
    step = int(matched[3] or 1)
    if not first <= last < num_layers or step < 1:
        raise _bad_layers(text, num_layers)
    return range(first, last + 1, step)


def _bad_layers(text: str, num_layers: int) -> SettingsError:
    return SettingsError(
        "these are not layers of the model",
        where="--layers",
        got=repr(text),
        expected=f"layers 0 to {num_layers - 1}, as all, last:2, 0-{num_layers - 1}:2 "
        "or 1,3",
        hint=f"try --layers last:{min(2, num_layers)}",
    )


def _check_names(settings: CarveSettings) -> None:
    known: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("--method", settings.method, METHODS),
        ("--gate", settings.gate_source, get_args(GateSource)),
    )
    for option, value, names in known:
        if value not in names:
            raise SettingsError(
                "there is no such choice",
                where=option,
                got=repr(value),
                expected=", ".join(names),
                hint=f"try {option} {names[0]}",
            )


def _check_numbers(settings: CarveSettings, size: int) -> None:
    number = settings.num_experts
    if size < 2:
        raise CarvingError(
            "a layer of one neuron cannot be divided",
            where="config.json, the neurons of a feed-forward layer",
            got=size,
            expected="at least 2",
            hint="carve another model",
        )
    if number < 2 or size % number:
        divisors = [n for n in range(2, size + 1) if size % n == 0]
        near = min(divisors, key=lambda n: abs(n - number))
        raise CarvingError(
            f"{size} neurons cannot be divided into that many experts of one size",
            where="--num-experts",
            got=number,
            expected="one of " + ", ".join(map(str, divisors)),
            hint=f"try --num-experts {near}",
        )
    if not 1 <= settings.top_k <= number:
        raise CarvingError(
            "a token cannot pick that many experts",
            where="--top-k",
            got=settings.top_k,
            expected=f"1 to {number}",
            hint=f"try --top-k {max(1, number // 2)}, or --top-k {number}, which is "
            "the dense model",
        )
