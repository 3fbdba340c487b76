"""The published figures are all there, and agree with one another."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from emo_prune.errors import ReportError
from emo_prune.reports.published import Published

FILE = Path(__file__).resolve().parents[2] / "benchmarks/published/emo.json"
PUBLISHED = Published.load(FILE)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One value of a series, with all that is said of it."""

    source: str
    reading: str
    tolerance: float
    model: str
    benchmark: str
    category: str
    value: float
    kept: int | None
    score: str | None
    greedy: bool | None
    examples: int | str | None
    select_shots: str | None
    score_shots: str
    seeds: int
    fine_tuned: bool


def _figures() -> Iterator[Figure]:
    for series in PUBLISHED.series:
        said = series.to_dict() | PUBLISHED.sources[series.source].to_dict()
        for kept, value in zip(said.pop("kept"), said.pop("values"), strict=True):
            yield Figure(**said, kept=kept, value=value)


FIGURES = tuple(_figures())

EMO, REGULAR = "allenai/Emo_1b14b_1T", "allenai/StdMoE_1b14b_1T"
EMO_130B, REGULAR_130B = "allenai/Emo_1b14b_130B", "allenai/StdMoE_1b14b_130B"
BENCHMARKS = ("mmlu", "mmlu-pro", "gsm8k")
KEPT = (128, 64, 32, 16, 8)


def _find(**wanted: Any) -> list[Figure]:
    return [
        figure
        for figure in FIGURES
        if all(getattr(figure, key) == value for key, value in wanted.items())
    ]


def _value(**wanted: Any) -> float:
    (figure,) = _find(**wanted)
    return figure.value


def test_the_file_says_whose_figures_these_are() -> None:
    document = json.loads(FILE.read_text(encoding="utf-8"))
    assert PUBLISHED.paper == "arXiv:2605.06663"
    assert "not measured by emo-prune" in document["about"]
    used = {figure.source for figure in FIGURES}
    assert used == set(document["sources"])


@pytest.mark.parametrize(
    ("source", "number"),
    [
        ("Table 1", 6 * 5),
        ("Table 3", 2 * 2 * 3 * 5),
        ("Figure 3", 2 * 2 * 3 * 5),
        ("Figure 4", 2 * 3 * 3 * 5),
        ("Figure 5", 3 * 2 + 3 * 5 * 3 * 3),
        ("Figure 11", 3 * 2 * (2 * 5 + 2)),
        ("Figure 13", 2 * (2 * 5 + 2)),
    ],
)
def test_a_source_is_complete_and_tells_nothing_twice(source: str, number: int) -> None:
    found = _find(source=source)
    assert len(found) == number
    keys = [f.name for f in fields(Figure) if f.name != "value"]
    assert len({tuple(getattr(f, key) for key in keys) for f in found}) == number


def test_values_are_per_cent_to_one_decimal() -> None:
    for figure in FIGURES:
        assert 0 <= figure.value <= 100
        assert figure.value == round(figure.value, 1)
        assert figure.tolerance == pytest.approx(0.05)
        assert figure.kept in {None, *KEPT}
        assert figure.reading == ("printed" if "Table" in figure.source else "decoded")
        assert figure.examples in {None, "all", 100, 10, 5, 1}


def test_what_was_not_selected_has_no_selection() -> None:
    for figure in FIGURES:
        chosen = (figure.score, figure.greedy)
        assert (None in chosen) == (chosen == (None, None))
        if figure.kept is None:
            assert chosen == (None, None)
        if figure.score in {None, "random"}:
            assert (figure.examples, figure.select_shots) == (None, None)


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        ({"source": "Figure 3", "model": EMO, "benchmark": "mmlu", "kept": 16}, 39.9),
        (
            {"source": "Figure 3", "model": REGULAR, "benchmark": "mmlu", "kept": 8},
            22.7,
        ),
        (
            {"source": "Figure 4", "model": REGULAR, "benchmark": "gsm8k", "kept": 64,
             "score": "easy-ep"},
            13.0,
        ),
        (
            {"source": "Figure 5", "benchmark": "mmlu", "kept": 32, "examples": 1,
             "select_shots": "none"},
            36.0,
        ),
        (
            {"source": "Figure 5", "benchmark": "gsm8k", "kept": 8, "examples": 1,
             "select_shots": "few", "score_shots": "few", "seeds": 3},
            8.3,
        ),
        (
            {"source": "Figure 11", "model": "allenai/StdMoE_1b4b_130B",
             "benchmark": "mmlu", "kept": None},
            35.9,
        ),
        (
            {"source": "Figure 13", "model": EMO_130B, "benchmark": "mmlu-pro",
             "kept": 16, "category": "other"},
            14.0,
        ),
    ],
)  # fmt: skip
def test_spot_values(wanted: dict[str, Any], value: float) -> None:
    assert _value(fine_tuned=False, **wanted) == value


@pytest.mark.parametrize("benchmark", BENCHMARKS)
@pytest.mark.parametrize("kept", KEPT)
def test_what_two_sources_give_is_the_same(benchmark: str, kept: int) -> None:
    here: dict[str, Any] = {"benchmark": benchmark, "kept": kept, "model": EMO}
    for tuned in (False, True):
        printed = _value(source="Table 3", fine_tuned=tuned, **here)
        assert _value(source="Figure 3", fine_tuned=tuned, **here) == printed
    for model in (EMO, REGULAR):
        drawn = _value(source="Figure 3", fine_tuned=False, **here | {"model": model})
        again = _value(
            source="Figure 4", score="probability", **here | {"model": model}
        )
        assert drawn == again
    shots = {"score_shots": "few"}
    if kept in {32, 16, 8}:
        shots |= {"examples": "all", "select_shots": "few"}
    if kept != 64:
        assert _value(source="Figure 5", **here, **shots) == _value(
            source="Table 3", fine_tuned=False, **here
        )


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_all_experts_are_the_full_model(benchmark: str) -> None:
    for source, model in (
        ("Figure 3", EMO),
        ("Figure 3", REGULAR),
        ("Figure 11", EMO_130B),
        ("Figure 11", REGULAR_130B),
    ):
        here: dict[str, Any] = {"model": model, "benchmark": benchmark}
        assert _value(source=source, kept=128, fine_tuned=False, **here) == _value(
            source="Table 1", **here
        )
    dense: dict[str, Any] = {
        "model": "allenai/Dense_1b_130B",
        "benchmark": benchmark,
        "fine_tuned": False,
    }
    assert _value(source="Figure 11", **dense) == _value(source="Table 1", **dense)


@pytest.mark.parametrize(
    ("model", "on_mmlu", "on_all"),
    [(EMO, (1.4, 2.9), (0.9, 1.5)), (REGULAR, (11.6, 17.8), (9.7, 13.1))],
)
def test_the_papers_claims_follow_from_its_figures(
    model: str, on_mmlu: tuple[float, ...], on_all: tuple[float, ...]
) -> None:
    def drop(benchmark: str, kept: int) -> float:
        here: dict[str, Any] = {"source": "Figure 3", "fine_tuned": False}
        here |= {"model": model, "benchmark": benchmark}
        return _value(**here, kept=128) - _value(**here, kept=kept)

    for kept, mmlu, everything in zip((32, 16), on_mmlu, on_all, strict=True):
        assert drop("mmlu", kept) == pytest.approx(mmlu)
        mean = sum(drop(benchmark, kept) for benchmark in BENCHMARKS) / 3
        assert mean == pytest.approx(everything, abs=0.051)


def test_names_stand_for_models_that_there_are_figures_of() -> None:
    assert PUBLISHED.models["emo-1t"] == EMO
    assert PUBLISHED.models["standard-130b"] == REGULAR_130B
    assert set(PUBLISHED.models.values()) <= {f.model for f in FIGURES}
    assert max(figure.kept or 0 for figure in FIGURES) == 128
    assert PUBLISHED.num_experts == 128


def _first(document: Any) -> Any:
    return document["series"][0]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: d.update(schema="emo-prune/published/1"), "schema"),
        (lambda d: d.pop("paper"), "paper"),
        (lambda d: d.update(more=1), "more"),
        (lambda d: d["models"].clear(), "models"),
        (lambda d: d.update(num_experts=True), "num_experts"),
        (lambda d: d["settings"].pop("answer"), "answer"),
        (lambda d: _first(d).update(source="Table 2"), r"series\[0\].source"),
        (lambda d: _first(d).update(values=[50.0, 60.0]), r"series\[0\]"),
        (lambda d: _first(d).update(values=[101]), r"series\[0\].values"),
        (lambda d: _first(d).update(kept=[0]), r"series\[0\].kept"),
        (lambda d: _first(d).update(examples="most"), r"series\[0\].examples"),
        (lambda d: _first(d).pop("seeds"), r"series\[0\]"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_refused(
    tmp_path: Path, spoil: Callable[[Any], object], said: str
) -> None:
    document = json.loads(FILE.read_text(encoding="utf-8"))
    spoil(document)
    file = tmp_path / "figures.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(
        ReportError, match=f"file of published figures breaks its schema.*{said}"
    ):
        Published.load(file)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"a": NaN}'])
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "figures.json"
    file.write_bytes(content)
    with pytest.raises(
        ReportError,
        match=r"published figures (is not valid|breaks)",
    ):
        Published.load(file)
    with pytest.raises(ReportError, match="cannot be read"):
        Published.load(tmp_path)
