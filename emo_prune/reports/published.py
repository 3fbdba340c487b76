"""Figures that others published, read from a file, beside the rows of a sweep.

None of them is emo-prune's own. Those of EMO's authors are in the source repository,
`benchmarks/published/emo.json`; docs/evaluation.md says how a file is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Annotated, ClassVar, Literal, NamedTuple

from msgspec import Meta
from rich.console import Group, RenderableType
from rich.table import Table

from emo_prune.artifacts import Document, Part, Positive
from emo_prune.errors import EmoPruneError, Parameter, ReportError, SettingsError
from emo_prune.reports.terminal import new_table
from emo_prune.sweeps import Cell, Row, Sweep, mean_cell
from emo_prune.tasks import MMLU_CATEGORIES, MMLU_PRO_CATEGORIES

EXAMPLE = "benchmarks/published/emo.json"
_SIZES = {
    "mmlu": len(MMLU_CATEGORIES) - 1,
    "mmlu-pro": len(MMLU_PRO_CATEGORIES) - 1,
    "gsm8k": 1,
}

Shots = Literal["few", "none"]
Percent = Annotated[float, Meta(ge=0, le=100)]


class Source(Part, frozen=True, kw_only=True):
    """A table or figure: how it was read, and half of the last digit, in per cent."""

    reading: Literal["printed", "decoded"]
    tolerance: Annotated[float, Meta(ge=0)]


class Series(Part, frozen=True, kw_only=True):
    """One model on one benchmark, in per cent, by how many experts were kept.

    source: "Table 3", "Figure 4". model: the Hub id of the checkpoint, or a name.
    benchmark: as a task is named, or one of the paper's own. category: "mean" is the
    unweighted one over the categories but "other".

    score, greedy: as in `select`. examples: how many calibrated. select_shots and
    score_shots: whether prompts had demonstrations. Where nothing was selected, score,
    greedy, examples and select_shots are None; a random choice has no examples either.
    seeds: over how many calibrations a value is a mean.

    kept: experts a layer, shared ones included; None for a model taken as it is.
    values: one for each of these.
    """

    source: str
    model: str
    benchmark: str
    category: Literal["mean", "other"]
    score: str | None
    greedy: bool | None
    examples: Positive | Literal["all"] | None
    select_shots: Shots | None
    score_shots: Shots
    seeds: Positive
    fine_tuned: bool
    kept: tuple[Positive | None, ...]
    values: tuple[Percent, ...]

    def __post_init__(self) -> None:
        if len(self.kept) != len(self.values):
            raise ValueError(f"{len(self.kept)} of kept, {len(self.values)} of values")


class Settings(Part, frozen=True, kw_only=True):
    """What `sweep` is to be run with for figures of the same kind."""

    protocol: str
    answer: str


class Published(Document, frozen=True, kw_only=True, tag="emo-prune/published/2"):
    """A file of figures: whose they are, and how they were measured.

    note: what stands below a table. num_experts: of each layer of these models. models:
    the model of a series, by the name it is asked for.
    """

    error: ClassVar[type[EmoPruneError]] = ReportError

    about: str
    paper: str
    note: str
    settings: Settings
    num_experts: Positive
    models: Annotated[Mapping[str, str], Meta(min_length=1)]
    sources: Mapping[str, Source]
    series: tuple[Series, ...]

    def __post_init__(self) -> None:
        for number, series in enumerate(self.series):
            if series.source not in self.sources:
                raise ValueError(
                    f"series[{number}].source {series.source!r} is none of sources"
                )

    @classmethod
    def _title(cls) -> str:
        return "file of published figures"

    @classmethod
    def _remedy(cls) -> str:
        return (
            f"{EXAMPLE} of the source repository has those of EMO's authors; "
            "docs/evaluation.md says how a file is written"
        )


def published_model(option: str, tasks: Iterable[str]) -> tuple[Published, str]:
    """Read what `FILE:NAME` names: a file of figures, and one of its models.

    `tasks` are the names of a sweep's tasks. To be called before it is run, so that
    what cannot be compared is refused before anything is computed.

    Raises:
        SettingsError: the option does not name a file and a model of it, or nothing
            was published on any task.
        ReportError: the file cannot be read, or is not such a file.
    """
    parameter = Parameter("compare_paper")
    file, _, name = option.rpartition(":")
    if not file or not name:
        raise SettingsError(
            "published figures are taken from a file",
            where=parameter,
            got=repr(option),
            expected="FILE:NAME",
            hint=(
                f"{EXAMPLE} of the source repository has those of EMO's authors: ",
                Parameter("compare_paper", f"{EXAMPLE}:emo-1t"),
            ),
        )
    published = Published.load(file)
    if name not in published.models:
        raise SettingsError(
            "no figures of such a model were published",
            where=(parameter, f", {file}"),
            got=repr(name),
            expected=", ".join(published.models),
            hint=(
                "try ",
                Parameter("compare_paper", f"{file}:{next(iter(published.models))}"),
            ),
        )
    found = list(tasks)
    if not any(_benchmark(task) for task in found):
        raise SettingsError(
            "the authors published nothing on these tasks",
            where=parameter,
            got=", ".join(found),
            expected="categories of " + ", ".join(_SIZES),
            hint=(
                *("add ", Parameter("tasks", "mmlu"), ", or leave "),
                *(parameter, " out"),
            ),
        )
    return published, name


def published_tables(sweep: Sweep, published: Published, name: str) -> RenderableType:
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
            tables.append(_table(sweep, published, name, benchmark, columns))
    return Group(*tables)


def _table(
    sweep: Sweep,
    published: Published,
    name: str,
    benchmark: str,
    columns: Collection[int],
) -> Table:
    table = new_table(
        f"{sweep.model.name} and, as published, {name}: {benchmark}",
        "experts kept",
        "this model",
        "drop",
        name,
        "drop",
        "published in",
    )
    series = [
        one
        for one in published.series
        if (one.model, one.benchmark) == (published.models[name], benchmark)
        and (one.category, one.score_shots) == ("mean", "few")
        and one.examples in ("all", None)
        and one.select_shots in ("few", None)
        and not one.fine_tuned
    ]
    whole = _mean(sweep, sweep.full, columns, None)
    full = _nearest(published, series, published.num_experts, None)
    for row in (sweep.full, *sweep.subsets):
        mean = whole if row is sweep.full else _mean(sweep, row, columns, whole)
        kept = _share(sweep, row) * published.num_experts
        theirs = _nearest(published, series, kept, row.score)
        table.add_row(_label(row), *_own(mean), *_theirs(theirs, full))
    table.caption = "\n".join(_caveats(sweep, published, benchmark, len(columns)))
    table.caption_justify = "left"
    return table


def _caveats(
    sweep: Sweep, published: Published, benchmark: str, num_categories: int
) -> Iterator[str]:
    yield f"{published.paper}: {published.note}"
    yield (
        "frequency and probability stand beside their greedy choice by probability on "
        "all calibration examples"
    )
    own = (sweep.settings.protocol, sweep.settings.answer)
    theirs = (published.settings.protocol, published.settings.answer)
    if benchmark != "gsm8k" and own != theirs:
        yield (
            f"this sweep has protocol {own[0]}, answers {own[1]}: levels are not "
            "comparable, drops are with care"
        )
    if num_categories < _SIZES[benchmark]:
        total = _SIZES[benchmark]
        yield f"this model's mean is over {num_categories} of {total} categories"


def _mean(
    sweep: Sweep, row: Row, columns: Collection[int], whole: Cell | None
) -> Cell | None:
    tasks = [sweep.tasks[i] for i in columns]
    return mean_cell(tasks, [row.cells[i] for i in columns], whole)


class _Figure(NamedTuple):
    kept: int
    value: float
    source: str
    reading: str


def _nearest(
    published: Published, series: Iterable[Series], kept: float, score: str | None
) -> _Figure | None:
    """Return the figure to stand beside a row: printed before decoded; None without."""
    near = {"frequency": "probability", None: "probability"}.get(score, score)
    found = [
        _Figure(num_experts, value, one.source, published.sources[one.source].reading)
        for one in series
        if one.score == near
        for num_experts, value in zip(one.kept, one.values, strict=True)
        if num_experts == round(kept, 6)
    ]
    return min(found, key=lambda figure: figure.reading == "decoded", default=None)


def _share(sweep: Sweep, row: Row) -> float:
    kept = row.num_experts
    return 1.0 if kept is None else kept / sweep.model.num_experts


def _label(row: Row) -> str:
    return "all" if row.score is None else f"{row.keep} {row.score}"


def _own(mean: Cell | None) -> tuple[str, str]:
    if mean is None:
        return "-", ""
    drop = "" if mean.difference is None else f"{mean.difference:+.1f}"
    return f"{100 * mean.value:.1f}", drop


def _theirs(found: _Figure | None, full: _Figure | None) -> tuple[str, str, str]:
    if found is None:
        return "-", "", ""
    drop = "" if full is None or found == full else f"{found.value - full.value:+.1f}"
    return f"{found.value:.1f}", drop, f"{found.source}, {found.reading}"


def _benchmark(task: str) -> str | None:
    name = task.partition(":")[0]
    return name if name in _SIZES else None
