"""Formats of exports: each module here is one, named after it, with its `FORMAT`.

A new format is a new file. It says what is written (names, tensors, config, files),
what it refuses, what the model card says of it, and what `verify` holds it to.
"""

from __future__ import annotations

import difflib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, ClassVar

from emo_prune.architectures import MoEModel
from emo_prune.checkpoint import OutputTensor, Tensor
from emo_prune.errors import Parameter, SettingsError
from emo_prune.exports.claims import Claim, Kept

SOURCE = "source"  # the default

_registered: dict[str, Format] = {}


class Format(ABC):
    """How a subset of a model's experts is written, and what that is held to.

    name: what `layout` and the record call it.
    outside: experts that stay but are none of those that the written config counts.
    changes: how the model card goes on after "No weight was changed".
    """

    name: ClassVar[str]
    outside: ClassVar[int] = 0
    changes: ClassVar[str] = ""

    @abstractmethod
    def refuse(self, model: MoEModel, kept: Kept, top_k: int) -> None:
        """Raise `NotExact` for a model that the format cannot hold exactly."""

    @abstractmethod
    def tensors(self, model: MoEModel, kept: Kept) -> list[OutputTensor]:
        """Return the tensors to write, in order; `kept` are expert ids by layer."""

    @abstractmethod
    def config(self, model: MoEModel, kept: Kept, top_k: int) -> dict[str, Any]:
        """Return the value of config.json; `top_k` is the router's afterwards."""

    def leaves_out(self, file: str) -> bool:
        """Tell whether a file of the source, no weights, is not to be copied."""
        del file
        return False

    @abstractmethod
    def card_line(self, model_type: str) -> str:
        """Return what the model card says of loading; `model_type` is the source's."""

    @abstractmethod
    def names(self, model: MoEModel, kept: Kept, dropped: Sequence[str]) -> set[str]:
        """Return the names that must be there, by the source's names.

        `dropped` are tensors outside the experts that have no place in an export.
        """

    @abstractmethod
    def claims(self, tensor: Tensor, model: MoEModel, kept: Kept) -> Iterable[Claim]:
        """Return what each byte of an exported tensor must be, by its name."""


def register(format: Format) -> None:  # noqa: A002 - the word for it
    """Offer a format that is defined elsewhere."""
    _registered[format.name] = format


def format_names() -> tuple[str, ...]:
    """Return the names of all formats; the default first."""
    here = {module.name for module in pkgutil.iter_modules(__path__)}
    return tuple(sorted({*here, *_registered}, key=lambda name: (name != SOURCE, name)))


def check_format(name: str, where: Parameter = Parameter("layout")) -> None:
    """Raise `SettingsError` for a format that there is not."""
    if name not in format_names():
        close = difflib.get_close_matches(name, format_names(), n=1) or [SOURCE]
        raise SettingsError(
            "there is no such format",
            where=where,
            got=f"{name!r:.200}",
            expected=" or ".join(format_names()),
            hint=("try ", Parameter(where.name, close[0])),
        )


def find_format(name: str) -> Format:
    """Return a format by its name.

    Raises:
        SettingsError: there is none.
    """
    check_format(name)
    if name not in _registered:
        register(import_module(f"{__name__}.{name}").FORMAT)
    return _registered[name]
