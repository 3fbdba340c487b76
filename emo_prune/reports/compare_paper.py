"""A sweep's rows beside those that the authors of EMO published."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from rich.console import Group, RenderableType
from rich.table import Table

from emo_prune.errors import SettingsError
from emo_prune.reports.published import PAPER, PublishedFigure, published_figures
from emo_prune.reports.table import new_table
from emo_prune.sweeps.document import Cell, Row, Sweep, mean_cell
from emo_prune.tasks import MMLU_CATEGORIES, MMLU_PRO_CATEGORIES

MODELS = {
    "emo-1t": "allenai/Emo_1b14b_1T",
    "standard-1t": "allenai/StdMoE_1b14b_1T",
    "annealed-1t": "allenai/StdMoE_1b14b_1T_EmoAnnealed",
    "emo-130b": "allenai/Emo_1b14b_130B",
    "standard-130b": "allenai/StdMoE_1b14b_130B",
}
_EXPERTS = 128  # of each of these models
_SIZES = {
    "mmlu": len(MMLU_CATEGORIES) - 1,
    "mmlu-pro": len(MMLU_PRO_CATEGORIES) - 1,
    "gsm8k": 1,
}


def check_comparable(name: str, tasks: Iterable[str]) -> None:
    """Refuse what cannot be compared, before anything is computed.

    `name` is a key of `MODELS`, `tasks` the names of a sweep's tasks.

    Raises:
        SettingsError: there is no such model, or nothing was published on any task.
    """
    if name not in MODELS:
        raise SettingsError(
            "no figures of such a model were published",
            where="--compare-paper",
            got=repr(name),
            expected=", ".join(MODELS),
            hint="try --compare-paper emo-1t",
        )
    found = list(tasks)
    if not any(_benchmark(task) for task in found):
        raise SettingsError(
            "the authors of EMO published nothing on these tasks",
            where="--compare-paper",
            got=", ".join(found),
            expected="categories of " + ", ".join(_SIZES),
            hint="add --tasks mmlu, or leave --compare-paper out",
        )


def paper_tables(sweep: Sweep, name: str) -> RenderableType:
    """Return a table for each benchmark of a sweep that there are figures on.

    A row for each of the sweep's own; the published one beside it keeps the same share
    of the experts by the nearest score. Means are over the categories but `other`.
    """
    tables = []
    for benchmark in _SIZES:
        columns = [
            column
            for column, task in enumerate(sweep.tasks)
            if task.in_mean and _benchmark(task.name) == benchmark
        ]
        if columns:
            tables.append(_table(sweep, name, benchmark, columns))
    return Group(*tables)


def _table(sweep: Sweep, name: str, benchmark: str, columns: Collection[int]) -> Table:
    table = new_table(
        f"{sweep.model['name']} and, as published, {name}: {benchmark}",
        "experts kept",
        "this model",
        "drop",
        f"{name}",
        "drop",
        "published in",
    )
    rows = [sweep.full, *sweep.subsets]
    whole = _mean(sweep, sweep.full, columns, None)
    full = _published(name, benchmark, 1.0, None)
    for row in rows:
        mean = whole if row is sweep.full else _mean(sweep, row, columns, whole)
        theirs = _published(name, benchmark, _share(sweep, row), row.score)
        table.add_row(_label(row), *_own(mean), *_theirs(theirs, full))
    table.caption = "\n".join(_caveats(sweep, benchmark, len(columns)))
    table.caption_justify = "left"
    return table


def _caveats(sweep: Sweep, benchmark: str, num_categories: int) -> Iterator[str]:
    yield (
        f"{PAPER}: the authors' figures, not measured here, on their split of the "
        "data (--protocol emo) in cloze style (--answer text); decoded: read off a "
        "drawing, ±0.05"
    )
    yield (
        "frequency and probability stand beside their greedy choice by probability on "
        "all calibration examples"
    )
    settings = sweep.settings
    as_theirs = (settings["protocol"], settings["answer"]) == ("emo", "text")
    if benchmark != "gsm8k" and not as_theirs:
        yield (
            f"this sweep: --protocol {settings['protocol']}, --answer "
            f"{settings['answer']}: levels are not comparable, drops are with care"
        )
    if num_categories < _SIZES[benchmark]:
        total = _SIZES[benchmark]
        yield f"this model's mean is over {num_categories} of {total} categories"


def _mean(
    sweep: Sweep, row: Row, columns: Collection[int], whole: Cell | None
) -> Cell | None:
    tasks = [sweep.tasks[i] for i in columns]
    return mean_cell(tasks, [row.cells[i] for i in columns], whole)


def _published(
    name: str, benchmark: str, share: float, score: str | None
) -> PublishedFigure | None:
    """Return the nearest published figure: printed before decoded; None without one."""
    near = {"frequency": "probability", None: "probability"}.get(score, score)
    found = [
        figure
        for figure in published_figures()
        if (figure.model, figure.benchmark) == (MODELS[name], benchmark)
        and (figure.category, figure.score_shots) == ("mean", "few")
        and figure.kept == round(share * _EXPERTS, 6)
        and figure.score == near
        and figure.examples in ("all", None)
        and figure.select_shots in ("few", None)
        and not figure.fine_tuned
    ]
    return min(found, key=lambda figure: figure.reading == "decoded", default=None)


def _share(sweep: Sweep, row: Row) -> float:
    kept = row.num_experts
    return 1.0 if kept is None else kept / int(sweep.model["num_experts"])


def _label(row: Row) -> str:
    return "all" if row.score is None else f"{row.keep} {row.score}"


def _own(mean: Cell | None) -> tuple[str, str]:
    if mean is None:
        return "-", ""
    drop = "" if mean.difference is None else f"{mean.difference:+.1f}"
    return f"{100 * mean.value:.1f}", drop


def _theirs(
    found: PublishedFigure | None, full: PublishedFigure | None
) -> tuple[str, str, str]:
    if found is None:
        return "-", "", ""
    drop = "" if full is None or found is full else f"{found.value - full.value:+.1f}"
    return f"{found.value:.1f}", drop, f"{found.source}, {found.reading}"


def _benchmark(task: str) -> str | None:
    name = task.partition(":")[0]
    return name if name in _SIZES else None
