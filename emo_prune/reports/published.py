"""Figures that others published, read from a file, beside the rows of a sweep.

None of them is emo-prune's own. Those of EMO's authors are in the source repository,
`benchmarks/published/emo.json`; docs/evaluation.md says how a file is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.table import Table

from emo_prune.errors import ReportError, SettingsError
from emo_prune.evaluation import Cell, Row, Sweep
from emo_prune.files import strict_json
from emo_prune.reports.table import new_table
from emo_prune.sweeps.document import mean_cell
from emo_prune.tasks import MMLU_CATEGORIES, MMLU_PRO_CATEGORIES

_OPTION = "--compare-paper"
_EXAMPLE = "benchmarks/published/emo.json"
_SIZES = {
    "mmlu": len(MMLU_CATEGORIES) - 1,
    "mmlu-pro": len(MMLU_PRO_CATEGORIES) - 1,
    "gsm8k": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigure:
    """One value, in per cent, give or take `tolerance` (half of its last digit).

    source: "Table 3", "Figure 4". reading: printed, or decoded from a vector drawing.
    model: the Hub id of the checkpoint, or a name. benchmark: as in `--task`, or one
    of the paper's own. category: "mean" is the unweighted one over the categories but
    "other".

    kept: experts a layer, shared ones included; None for a model taken as it is. score,
    greedy: as in `select`. examples: how many calibrated. select_shots and score_shots:
    whether prompts had demonstrations. Where nothing was selected, score, greedy,
    examples and select_shots are None; a random choice has no examples either. seeds:
    over how many calibrations `value` is a mean.
    """

    source: str
    reading: Literal["printed", "decoded"]
    tolerance: float
    model: str
    benchmark: str
    category: Literal["mean", "other"]
    value: float
    kept: int | None
    score: str | None
    greedy: bool | None
    examples: int | Literal["all"] | None
    select_shots: Literal["few", "none"] | None
    score_shots: Literal["few", "none"]
    seeds: int
    fine_tuned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A file of figures: whose they are, and how they were measured.

    note: what stands below a table. models: the model of the figures by the name it is
    asked for. num_experts: of each layer of these models. protocol, answer: as `sweep`
    takes them.
    """

    paper: str
    note: str
    models: Mapping[str, str]
    num_experts: int
    protocol: str
    answer: str
    figures: tuple[PublishedFigure, ...]


def read_published(file: Path) -> Published:
    """Read a file of figures, in the order that they stand in.

    Raises:
        ReportError: it cannot be read, or is not such a file; says where.
    """
    import fastjsonschema

    try:
        document = strict_json(file.read_bytes())
        fastjsonschema.compile(_FILE)(document)
        figures = tuple(_figures(document))
    except OSError as error:
        raise ReportError(
            "the file of published figures cannot be read",
            where=file,
            got=error.strerror or str(error),
            hint=f"those of EMO's authors are {_EXAMPLE} of the source repository",
        ) from None
    except (ValueError, fastjsonschema.JsonSchemaValueException) as error:
        raise ReportError(
            "this is not a file of published figures",
            where=file,
            got=str(error),
            expected=f"JSON like that of {_EXAMPLE}, {_SCHEMA}",
            hint="docs/evaluation.md says how such a file is written",
        ) from None
    own = {name: document[name] for name in ("paper", "note", "models")}
    return Published(
        **own,
        num_experts=document["num_experts"],
        **document["settings"],
        figures=figures,
    )


def published_model(option: str, tasks: Iterable[str]) -> tuple[Published, str]:
    """Read what `--compare-paper FILE:NAME` names: a file, and one of its models.

    `tasks` are the names of a sweep's tasks. To be called before it is run, so that
    what cannot be compared is refused before anything is computed.

    Raises:
        SettingsError: the option does not name a file and a model of it, or nothing
            was published on any task.
        ReportError: the file cannot be read, or is not such a file.
    """
    file, _, name = option.rpartition(":")
    if not file or not name:
        raise SettingsError(
            "published figures are taken from a file",
            where=_OPTION,
            got=repr(option),
            expected="FILE:NAME",
            hint=f"{_EXAMPLE} of the source repository holds those of EMO's authors: "
            f"{_OPTION} {_EXAMPLE}:emo-1t",
        )
    published = read_published(Path(file))
    if name not in published.models:
        raise SettingsError(
            "no figures of such a model were published",
            where=f"{_OPTION}, {file}",
            got=repr(name),
            expected=", ".join(published.models),
            hint=f"try {_OPTION} {file}:{next(iter(published.models))}",
        )
    found = list(tasks)
    if not any(_benchmark(task) for task in found):
        raise SettingsError(
            "the authors published nothing on these tasks",
            where=_OPTION,
            got=", ".join(found),
            expected="categories of " + ", ".join(_SIZES),
            hint=f"add --tasks mmlu, or leave {_OPTION} out",
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
        f"{sweep.model['name']} and, as published, {name}: {benchmark}",
        "experts kept",
        "this model",
        "drop",
        name,
        "drop",
        "published in",
    )
    figures = [
        figure
        for figure in published.figures
        if (figure.model, figure.benchmark) == (published.models[name], benchmark)
        and (figure.category, figure.score_shots) == ("mean", "few")
        and figure.examples in ("all", None)
        and figure.select_shots in ("few", None)
        and not figure.fine_tuned
    ]
    whole = _mean(sweep, sweep.full, columns, None)
    full = _nearest(figures, published.num_experts, None)
    for row in (sweep.full, *sweep.subsets):
        mean = whole if row is sweep.full else _mean(sweep, row, columns, whole)
        kept = _share(sweep, row) * published.num_experts
        theirs = _nearest(figures, kept, row.score)
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
    own = (sweep.settings["protocol"], sweep.settings["answer"])
    if benchmark != "gsm8k" and own != (published.protocol, published.answer):
        yield (
            f"this sweep: --protocol {own[0]}, --answer {own[1]}: levels are not "
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


def _nearest(
    figures: Iterable[PublishedFigure], kept: float, score: str | None
) -> PublishedFigure | None:
    """Return the figure to stand beside a row: printed before decoded; None without."""
    near = {"frequency": "probability", None: "probability"}.get(score, score)
    found = [
        figure
        for figure in figures
        if figure.kept == round(kept, 6) and figure.score == near
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


def _figures(document: Mapping[str, Any]) -> Iterator[PublishedFigure]:
    """Yield the figures of a document that is of the schema.

    Raises:
        ValueError: a series contradicts the rest of the document.
    """
    for number, series in enumerate(document["series"]):
        kept, values = series["kept"], series["values"]
        if len(kept) != len(values):
            raise ValueError(
                f"series[{number}] has {len(kept)} of kept, {len(values)} values"
            )
        if series["source"] not in document["sources"]:
            raise ValueError(f"series[{number}].source is none of sources")
        shared = {k: v for k, v in series.items() if k not in {"kept", "values"}}
        shared |= document["sources"][series["source"]]
        for one, value in zip(kept, values, strict=True):
            yield PublishedFigure(**shared, kept=one, value=value)


def _closed(properties: dict[str, object]) -> dict[str, object]:
    """Return the JSON Schema of an object with these keys, all of them, and no more."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_SCHEMA = "emo-prune/published/2"
_TEXT = {"type": "string", "minLength": 1}
_COUNT = {"type": "integer", "minimum": 1}
_SERIES = _closed(
    {
        "source": _TEXT,
        "model": _TEXT,
        "benchmark": _TEXT,
        "category": {"enum": ["mean", "other"]},
        "score": {"type": ["string", "null"]},
        "greedy": {"type": ["boolean", "null"]},
        "examples": {"anyOf": [_COUNT, {"enum": ["all", None]}]},
        "select_shots": {"enum": ["few", "none", None]},
        "score_shots": {"enum": ["few", "none"]},
        "seeds": _COUNT,
        "fine_tuned": {"type": "boolean"},
        "kept": {
            "type": "array",
            "items": {"type": ["integer", "null"], "minimum": 1},
        },
        "values": {
            "type": "array",
            "items": {"type": "number", "minimum": 0, "maximum": 100},
        },
    }
)
_SOURCE = _closed(
    {
        "reading": {"enum": ["printed", "decoded"]},
        "tolerance": {"type": "number", "minimum": 0},
    }
)
_FILE = _closed(
    {
        "schema": {"const": _SCHEMA},
        "about": _TEXT,
        "paper": _TEXT,
        "note": _TEXT,
        "settings": _closed({"protocol": _TEXT, "answer": _TEXT}),
        "num_experts": _COUNT,
        "models": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": _TEXT,
        },
        "sources": {"type": "object", "additionalProperties": _SOURCE},
        "series": {"type": "array", "items": _SERIES},
    }
)
