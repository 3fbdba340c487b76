"""Values that options are read from, where no package below has them."""

from __future__ import annotations

import math
import re

from emo_prune.errors import Parameter, SettingsError

DTYPES = ("auto", "float32", "bfloat16", "float16")
_GATES = {"min_recovery": "95%", "max_ppl_increase": "2%"}
_CUDA = re.compile(r"cuda(?::(0|[1-9][0-9]{0,3}))?")


def number_of_examples(
    value: str | int, where: Parameter = Parameter("num_examples")
) -> int | None:
    """Return a number of examples; None is all of them.

    Raises:
        SettingsError: it is no number above zero, and not `all`.
    """
    text = str(value).strip()
    if text.lower() == "all":
        return None
    if text.isdecimal() and len(text) < 19 and int(text) > 0:
        return int(text)
    raise SettingsError(
        "this is not a number of examples",
        where=where,
        got=f"{value!r:.200}",
        expected="a number above zero, or all",
        hint=("try ", Parameter(where.name, 100)),
    )


def check_dtype(dtype: str, where: Parameter = Parameter("dtype")) -> None:
    """Raise `SettingsError` for a type that models are not computed in."""
    if dtype not in DTYPES:
        raise SettingsError(
            "there is no such dtype",
            where=where,
            got=f"{dtype!r:.200}",
            expected=", ".join(DTYPES),
            hint=("try ", Parameter("dtype", "auto")),
        )


def check_device(device: str, where: Parameter = Parameter("device")) -> int | None:
    """Return the number of a GPU that was named; None for any other device.

    Raises:
        SettingsError: the text names none.
    """
    if device in ("cpu", "auto"):
        return None
    named = _CUDA.fullmatch(device)
    if named is None:
        raise SettingsError(
            "the device is none that models are run on here",
            where=where,
            got=f"{device!r:.200}",
            expected="cpu, cuda, cuda:N or auto",
            hint=("try ", Parameter("device", "cpu")),
        )
    return int(named[1] or 0)


def check_limit(limit: float, where: Parameter) -> None:
    """Raise `SettingsError` for a gate's limit that is not a finite number."""
    if not math.isfinite(limit):
        raise SettingsError(
            "a gate is not a number",
            where=where,
            got=limit,
            hint=("try ", Parameter(where.name, _GATES.get(where.name, "1.0"))),
        )


def check_confidence(
    confidence: float, where: Parameter = Parameter("confidence")
) -> None:
    """Raise `SettingsError` for a confidence that is not between 0 and 1."""
    if not 0 < confidence < 1:
        raise SettingsError(
            "a confidence is a share between 0 and 1",
            where=where,
            got=confidence,
            expected="0.95, for instance",
            hint=("try ", Parameter(where.name, 0.95)),
        )


def share_in_percent(
    value: str | float, where: Parameter = Parameter("min_recovery")
) -> float:
    """Return the per cent of a share of the baseline: 95 of "95%" or 0.95.

    Raises:
        SettingsError: it is none; above 1 it needs its per cent sign.
    """
    number = _number(value)
    if not str(value).strip().endswith("%"):
        number = 100 * number if number <= 1 else math.nan
    if not 0 < number < math.inf:
        raise SettingsError(
            "this is not a share of the baseline",
            where=where,
            got=f"{value!r:.200}",
            expected="95% or 0.95: above 1 with a per cent sign",
            hint=("try ", Parameter(where.name, "95%")),
        )
    return number


def rise_in_percent(
    value: str | float, where: Parameter = Parameter("max_ppl_increase")
) -> float:
    """Return the per cent of "2%" or 2.

    Raises:
        SettingsError: it is no number.
    """
    number = _number(value)
    if not math.isfinite(number):
        raise SettingsError(
            "this is not a number of per cent",
            where=where,
            got=f"{value!r:.200}",
            expected="2% or 2",
            hint=("try ", Parameter(where.name, "2%")),
        )
    return number


def _number(value: str | float) -> float:
    """Return the number before a per cent sign; NaN if there is none."""
    try:
        return float(str(value).strip().removesuffix("%"))
    except ValueError:
        return math.nan
