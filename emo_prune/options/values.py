"""Values that options are read from, where no package below has them."""

from __future__ import annotations

import re

from emo_prune.errors import Parameter, SettingsError

DTYPES = ("auto", "float32", "bfloat16", "float16")
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
