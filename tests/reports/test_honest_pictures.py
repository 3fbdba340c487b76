"""Pictures show what was measured where it was measured, and name all they show."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from emo_prune.reports.page import Picture
from tests.reports.conftest import REAL, Edit, Edited, html_of, one_size, pictures

CIRCLE = re.compile(r'<circle cx="([^"]+)" cy="([^"]+)" r="[^"]+" class="mark(\d)"')
BAR = re.compile(r'<line x1="([^"]+)" y1="([^"]+)" x2="([^"]+)" y2="([^"]+)" [^>]*"bar')
AXIS = 200.0  # where the horizontal one is drawn; the legend is below


def drawn(picture: Picture) -> str:
    return "".join(picture.shapes)


def spread(value: dict[str, Any]) -> None:
    """Have the first category's normal interval go beyond 100 %."""
    for one in (value, value["categories"][0]):
        one.update(value=0.95, stderr=0.1)


def test_no_interval_goes_beyond_what_is_possible(folder: Path, edit: Edit) -> None:
    edit("results.json", spread)
    picture = pictures(folder / "results.json")["categories"]
    intervals = re.findall(
        r'x1="([^"]+)" y1="([^"]+)" x2="([^"]+)" y2="([^"]+)"[^>]*"interval"',
        drawn(picture),
    )
    along = [one for one in intervals if one[1] == one[3]]
    across = [one for one in intervals if one[0] == one[2]]
    assert len(along) == 1
    assert [one[0] for one in across] == [along[0][2]]  # a stroke where it is cut off
    assert "cut off at 0 or 100" in picture.words
    tick = re.search('<text x="([^"]+)" [^>]*>100</text>', drawn(picture))
    assert tick is not None
    assert float(along[0][2]) == pytest.approx(float(tick[1]), abs=0.02)


def test_nothing_is_said_to_be_cut_off_where_nothing_is() -> None:
    for name in ("share", "drop", "frontier"):
        assert "cut off" not in pictures(REAL)[name].words


def test_a_sweeps_intervals_end_at_a_hundred_too(edited: Edited) -> None:
    def high(value: dict[str, Any]) -> None:
        one_size(value)
        for row in [value["full"], *value["subsets"]]:
            row["mean"].update(value=0.99, stderr=0.02)

    picture = pictures(edited(high))["share"]
    tick = re.search(r'<text [^>]*y="([^"]+)"[^>]*>100</text>', drawn(picture))
    assert tick is not None
    top = float(tick[1]) - 4
    for _, y1, _, y2 in BAR.findall(drawn(picture)):
        assert min(float(y1), float(y2)) >= top - 0.02
    assert "cut off at 0 or 100" in picture.words


def test_metrics_that_are_no_shares_are_not_cut_off(folder: Path, edit: Edit) -> None:
    def bleu(value: dict[str, Any]) -> None:
        del value["comparison"], value["gates"]
        for one in (value, value["categories"][0]):
            one.update(value=31.0, stderr=9.0)

    edit("results.json", bleu)
    picture = pictures(folder / "results.json")["categories"]
    assert "cut off" not in picture.words


@pytest.mark.parametrize("name", ["share", "drop", "frontier"])
def test_points_of_one_budget_stand_at_one_place(edited: Edited, name: str) -> None:
    picture = pictures(edited(one_size))[name]
    by_line: dict[str, list[str]] = {}
    for x, y, line in CIRCLE.findall(drawn(picture)):
        if float(y) < AXIS:
            by_line.setdefault(line, []).append(x)
    frequency, probability, random = (by_line[n] for n in "012")
    assert frequency == probability == random
    assert len(frequency) == 3


def test_bars_in_one_place_are_told_apart_by_their_breadth(edited: Edited) -> None:
    picture = pictures(edited(one_size))["share"]
    widths = re.findall(r'stroke-width="([^"]+)" class="bar(\d)"', drawn(picture))
    by_line = {line: float(width) for width, line in widths}
    assert by_line["0"] > by_line["1"] > by_line["2"]
    assert "broader" in picture.words


def one_is_best(value: dict[str, Any]) -> None:
    """Leave one model on the frontier: the smallest is the best."""
    one_size(value)
    for row in [value["full"], *value["subsets"], *value["others"]]:
        row["mean"]["value"] = 0.5
    smallest = min(value["subsets"], key=lambda row: row["num_bytes"])
    smallest["mean"]["value"] = 0.9


def test_the_frontier_is_named_only_where_it_is_drawn(edited: Edited) -> None:
    whole = pictures(REAL)["frontier"]
    assert 'class="edge"' in drawn(whole)
    assert ">frontier: " in drawn(whole)
    point = pictures(edited(one_is_best))["frontier"]
    for text in (drawn(point), point.words):
        assert "edge" not in text
        assert "frontier" not in text
        assert "broad line" not in text


def test_a_sample_in_a_legend_is_of_something_drawn() -> None:
    for picture in pictures(REAL).values():
        text = drawn(picture)
        for kind in ("line", "mark"):
            above: set[str] = set()
            below: set[str] = set()
            for element in re.findall(
                f'<(?:polyline|line|circle) [^>]*"{kind}\\d"', text
            ):
                place = re.search('c?y1?="([^"]+)"', element)
                legend = place is not None and float(place[1]) > AXIS
                (below if legend else above).add(element[-2])
            assert below <= above


def test_bars_are_explained_only_where_there_are_any(
    folder: Path, edit: Edit, edited: Edited
) -> None:
    def bare(value: dict[str, Any]) -> None:
        for one in (value, *value["categories"]):
            one["stderr"] = None
        compared = value["comparison"]
        for one in (compared["headline"], *compared["categories"]):
            one["interval"] = None
        compared["controls"] = []

    edit("results.json", bare)
    for picture in pictures(folder / "results.json").values():
        assert "Bars" not in picture.words

    def of_sweep(value: dict[str, Any]) -> None:
        for row in [value["full"], *value["subsets"], *value["others"]]:
            for cell in [*row["cells"], row["mean"]]:
                cell |= {"stderr": None, "interval": None}

    for picture in pictures(edited(of_sweep)).values():
        assert "Bars" not in picture.words


def test_a_long_name_is_cut_in_its_middle_and_whole_where_it_is_pointed_at(
    folder: Path, edit: Edit
) -> None:
    names = [f"{'a-long-category-' * 6}{end}" for end in ("first", "second")]

    def rename(value: dict[str, Any]) -> None:
        found = value["categories"][0]
        value["categories"] = [{**found, "name": name} for name in names]

    edit("results.json", rename)
    text = drawn(pictures(folder / "results.json")["categories"])
    labels = re.findall('class="label">([^<]+)<', text)
    assert [label[-5:] for label in labels[:2]] == ["first", "econd"]
    assert all("..." in label for label in labels[:2])
    for name in names:
        assert f"<title>{name}: " in text


def test_entries_of_the_same_title_are_told_apart(folder: Path, edit: Edit) -> None:
    twin = folder / "results-again.json"
    twin.write_bytes((folder / "results.json").read_bytes())
    edit("results-again.json", lambda value: value.update(num_truncated=1))
    text = html_of(folder)
    titles = re.findall("<h2>(.*?) <small>", text)
    assert len(set(titles)) == len(titles)
    assert sum("(results.json)" in title for title in titles) == 1
    assert sum("(results-again.json)" in title for title in titles) == 1
    together = text[text.index("One row for each model") :]
    rows = re.findall('scope="row">([^<]+)<', together[: together.index("</table>")])
    assert len(set(rows)) == len(rows) == 3


def test_models_of_the_same_name_in_a_sweep_are_told_apart(edited: Edited) -> None:
    def twice(value: dict[str, Any]) -> None:
        one_size(value)
        value["others"].append(json.loads(json.dumps(value["others"][0])))
        value["tasks"][1]["short"] = value["tasks"][0]["short"]

    text = html_of(edited(twice))
    assert ">worlds-standard (1)<" in text
    assert ">worlds-standard (2)<" in text
    heads = re.findall('<th scope="col">([^<]+)</th>', text[: text.index("</thead>")])
    assert len(set(heads)) == len(heads)
