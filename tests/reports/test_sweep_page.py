"""The page of a sweep: its numbers are the JSON's, its pictures say the same."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from emo_prune.errors import ReportError
from emo_prune.reports.page import find_artifacts
from emo_prune.reports.sweep import sweep_tables
from emo_prune.sweeps import Sweep
from tests.reports.conftest import REAL, Edited, html_of, one_size, pictures
from tests.reports.test_page import Reader, numbers


def test_reading_a_sweep_and_writing_it_gives_the_same_bytes() -> None:
    assert Sweep.load(REAL).to_text() == REAL.read_text()


def test_every_number_of_every_cell_is_on_the_page() -> None:
    value = json.loads(REAL.read_text())
    shown = set(Reader(html_of(REAL)).exact)
    for row in [value["full"], *value["subsets"], *value["others"]]:
        for cell in [*row["cells"], row["mean"]]:
            parts = [cell["value"], cell["difference"], cell["interval"]]
            assert set(numbers(parts)) <= shown
        assert {row["num_bytes"], *numbers(row["mean"]["recovery"] or [])} <= shown
    for part in ("tasks", "calibrations"):
        for one in value[part]:
            assert {n for n in one.values() if type(n) is int} <= shown


def test_a_cell_is_tinted_if_its_interval_lies_below_zero(edited: Edited) -> None:
    file = edited(one_size)
    value = json.loads(file.read_text())
    cells = [c for r in value["subsets"] for c in (*r["cells"], r["mean"])]
    surely_lost = sum(cell["interval"][1] < 0 for cell in cells)
    assert surely_lost > 0
    assert html_of(file).count('class="loss ') == surely_lost


def test_the_frontier_is_that_of_the_terminal(edited: Edited) -> None:
    file = edited(one_size)
    sweep = Sweep.load(file)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(sweep_tables(sweep))
    told = re.findall(
        r"│ ([^│]*?) +│[^│]*│[^│]*│[^│]*│[^│]*│ \* │", console.export_text()
    )
    table = html_of(file).split("Memory and accuracy")[1].split("</table>")[0]
    rows = re.findall('scope="row">([^<]*)</th>(.*?)</tr>', table)
    shown = [name for name, cells in rows if cells.endswith(">yes</td>")]
    assert shown == told
    assert shown


def test_more_accuracy_is_drawn_higher_and_more_bytes_further_right() -> None:
    value = json.loads(REAL.read_text())
    drawn = "".join(pictures(REAL)["frontier"].shapes)
    drawn = drawn[: drawn.index("</g>", drawn.rindex("<g>"))]  # without the legend
    circles = re.findall(r'<circle cx="([^"]+)" cy="([^"]+)" [^>]*"mark[34]"', drawn)
    points = [
        (row["num_bytes"], row["mean"]["value"])
        for row in [value["full"], *value["others"]]
    ]
    assert len(circles) == len(points)
    heights = [float(y) for _, y in circles]
    assert sorted(range(2), key=lambda i: points[i][1]) == sorted(
        range(2), key=lambda i: -heights[i]
    )
    lines = re.findall(r'points="([^"]+)" class="line0"', drawn)
    xs = [float(place.split(",")[0]) for place in lines[0].split()]
    assert xs == sorted(xs)


def test_pictures_over_examples_are_there_if_there_are_several_sizes(
    edited: Edited,
) -> None:
    common = {"share", "drop", "frontier", "tasks"}
    several = pictures(REAL).keys()
    assert several == common | {"examples-8", "examples-16", "examples-32"}
    assert pictures(edited(one_size)).keys() == common


def test_without_a_mean_over_tasks_the_table_stands_alone(edited: Edited) -> None:
    def no_mean(value: dict[str, Any]) -> None:
        value["tasks"][0] |= {"metric": "bits_per_byte", "higher_is_better": False}
        for row in [value["full"], *value["subsets"], *value["others"]]:
            row["mean"] = None

    file = edited(no_mean)
    assert pictures(file) == {}
    assert "Bits per byte/accuracy by budget and task" in html_of(file)


def test_without_standard_errors_there_are_no_bars(edited: Edited) -> None:
    def bare(value: dict[str, Any]) -> None:
        for row in [value["full"], *value["subsets"], *value["others"]]:
            for cell in [*row["cells"], row["mean"]]:
                cell |= {"stderr": None, "interval": None}

    for picture in pictures(edited(bare)).values():
        assert 'class="bar' not in "".join(picture.shapes)
        assert 'class="interval' not in "".join(picture.shapes)


def test_a_row_without_a_cell_for_each_task_is_named(edited: Edited) -> None:
    file = edited(lambda value: value["others"][0]["cells"].pop())
    with pytest.raises(ReportError, match=r"worlds-standard.*9 cells.*10 tasks"):
        html_of(file)


def test_a_folder_with_a_sweep_shows_it_and_not_its_finished_cells(
    outputs: Path, tmp_path: Path
) -> None:
    shutil.copy(REAL, tmp_path)
    state = tmp_path / "sweep.json.state"
    state.mkdir()
    shutil.copy(outputs / "results.json", state)
    (artifact,) = find_artifacts(tmp_path).artifacts
    assert artifact.name == "sweep.json"
