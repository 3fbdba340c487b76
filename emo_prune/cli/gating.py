"""The gates of `eval` and what it writes for CI: options, and how they are read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emo_prune.errors import SettingsError

if TYPE_CHECKING:
    from emo_prune.evaluation import Gates

PANEL = "Gates"
CI = "For CI"

MaxDrop = Annotated[
    float | None,
    typer.Option(
        envvar="EMO_PRUNE_MAX_DROP",
        help="Exit with 3 if more points are lost against the baseline (or else "
        "the source).",
        rich_help_panel=PANEL,
    ),
]
MinRecovery = Annotated[
    str | None,
    typer.Option(
        envvar="EMO_PRUNE_MIN_RECOVERY",
        help="Exit with 3 if less of the baseline's figure (or else the source's) "
        "is left: 95%, 95 or 0.95.",
        rich_help_panel=PANEL,
    ),
]
MaxPplIncrease = Annotated[
    str | None,
    typer.Option(
        envvar="EMO_PRUNE_MAX_PPL_INCREASE",
        help="Exit with 3 if perplexity per byte rises by more per cent; for texts: "
        "2% or 2.",
        rich_help_panel=PANEL,
    ),
]
Confidence = Annotated[
    float | None,
    typer.Option(
        envvar="EMO_PRUNE_CONFIDENCE",
        help="Judge the worse end of this interval: 0.95. (default: the point "
        "estimate)",
        rich_help_panel=PANEL,
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        envvar="EMO_PRUNE_STRICT",
        help="Fail a gate, too, if these questions are too few to see the loss it "
        "guards against.",
        rich_help_panel=PANEL,
    ),
]
Junit = Annotated[
    Path | None,
    typer.Option(
        envvar="EMO_PRUNE_JUNIT",
        help="Write JUnit XML: a test case for each category and each gate.",
        rich_help_panel=CI,
    ),
]
Samples = Annotated[
    Path | None,
    typer.Option(
        envvar="EMO_PRUNE_SAMPLES",
        help="Write the questions that only one of model and baseline has right, as "
        "JSONL.",
        rich_help_panel=CI,
    ),
]


def read_gates(
    *,
    max_drop: float | None,
    min_recovery: str | None,
    max_ppl_increase: str | None,
    confidence: float | None,
    strict: bool,
) -> Gates:
    """Return the gates that were asked for.

    Raises:
        SettingsError: a limit cannot be read, or there is nothing to be strict about.
        EvaluationError: a limit is not a number.
    """
    from emo_prune.evaluation import Gates

    gates = Gates(
        max_drop=max_drop,
        min_recovery=None if min_recovery is None else _share(min_recovery),
        max_ppl_increase=None if max_ppl_increase is None else _rise(max_ppl_increase),
        confidence=confidence,
        strict=strict,
    )
    if not gates.any and (strict or confidence is not None):
        raise SettingsError(
            "there is no gate to judge",
            got="--strict" if strict else f"--confidence {confidence}",
            expected="--max-drop, --min-recovery or --max-ppl-increase beside it",
            hint="add --max-drop 1.0",
        )
    return gates


def _share(text: str) -> float:
    """Read 95%, 95 or 0.95 as 95 per cent; nobody asks for one per cent or less."""
    number = _number(text)
    if not text.strip().endswith("%") and 0 < number <= 1:
        number *= 100
    if not number > 0 or math.isinf(number):
        raise SettingsError(
            "this is not a share of the baseline",
            where="--min-recovery",
            got=repr(text),
            expected="95%, 95 or 0.95",
            hint="try --min-recovery 95%",
        )
    return number


def _rise(text: str) -> float:
    """Read 2% or 2 as two per cent."""
    number = _number(text)
    if not math.isfinite(number):
        raise SettingsError(
            "this is not a number of per cent",
            where="--max-ppl-increase",
            got=repr(text),
            expected="2% or 2",
            hint="try --max-ppl-increase 2%",
        )
    return number


def _number(text: str) -> float:
    """Return the number before a per cent sign; NaN if there is none."""
    try:
        return float(text.strip().removesuffix("%"))
    except ValueError:
        return math.nan
