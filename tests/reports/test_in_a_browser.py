"""The page in a real browser: no complaint, and its tables sort."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from emo_prune.reports.page import find_artifacts, picture_files, sections
from tests.reports.browser import Tab, browser
from tests.reports.conftest import REAL, html_of
from tests.reports.test_page import PRETRAINED

TABLE = "document.querySelector('table')"  # the points of the loss
LOSSES = f"[...{TABLE}.tBodies[0].rows].map(row => row.cells[1].textContent)"
TITLE = f"{TABLE}.tHead.rows[0].cells[1]"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def pages(outputs: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pages")
    swept = json.loads(REAL.read_text())
    swept["others"][0]["model"] = "a-model-of-somebody-else/" + "with-a-long-name-" * 5
    (folder / "sweep.json").write_text(json.dumps(swept))
    sources = {
        "outputs": outputs,
        "pretrained": PRETRAINED,
        "sweep": folder / "sweep.json",
    }
    made = [folder / f"{name}.html" for name in sources]
    for file, source in zip(made, sources.values(), strict=True):
        file.write_text(html_of(source), encoding="utf-8")
    return made


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1000])
def test_it_opens_from_disk_without_complaint_and_fits(
    tab: Tab, pages: list[Path], width: int, dark: bool
) -> None:
    for file in pages:
        tab.open(file, width=width, dark=dark)
        assert tab.complaints == []
        assert tab.asked_for == [file.as_uri()]
        assert tab.run("document.documentElement.scrollWidth") <= width
        paper = tab.run("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(255, 255, 255)") is not dark


def test_a_click_sorts_a_table_and_another_turns_it_round(
    tab: Tab, pages: list[Path]
) -> None:
    tab.open(pages[1])
    losses = [float(text) for text in tab.run(LOSSES)]
    assert losses != sorted(losses)
    tab.run(f"{TITLE}.querySelector('button').click()")
    assert [float(text) for text in tab.run(LOSSES)] == sorted(losses)
    assert tab.run(f"{TITLE}.getAttribute('aria-sort')") == "ascending"
    tab.run(f"{TITLE}.querySelector('button').click()")
    assert [float(text) for text in tab.run(LOSSES)] == sorted(losses, reverse=True)
    assert tab.complaints == []


def test_drops_sort_by_their_exact_numbers_not_as_they_are_written(
    tab: Tab, pages: list[Path]
) -> None:
    tab.open(pages[2])
    drops = f"[...{TABLE}.tBodies[0].rows].map(row => row.cells[2].textContent)"
    tab.run(f"{TABLE}.tHead.rows[0].cells[2].querySelector('button').click()")
    known = [float(text) for text in tab.run(drops) if text != "-"]
    assert known == sorted(known)
    assert known[0] < 0 < known[-1]
    assert tab.complaints == []


def test_a_picture_in_a_file_of_its_own_opens_without_complaint(
    tab: Tab, tmp_path: Path
) -> None:
    for name, text in picture_files(sections(find_artifacts(REAL))).items():
        file = tmp_path / name
        file.write_text(str(text), encoding="utf-8")
        tab.open(file)
        assert tab.complaints == []
        assert tab.asked_for == [file.as_uri()]
        assert tab.run("document.documentElement.tagName") == "svg"


def test_no_label_of_a_picture_is_cut_off(tab: Tab, pages: list[Path]) -> None:
    outside = """[...document.querySelectorAll('svg')].flatMap(svg => {
        const {width, height} = svg.viewBox.baseVal;
        return [...svg.querySelectorAll('text')].map(text => [text, text.getBBox()])
            .filter(([, box]) => box.x < -1 || box.y < -1 ||
                box.x + box.width > width + 1 || box.y + box.height > height + 1)
            .map(([text]) => text.textContent); })"""
    for file in pages:
        tab.open(file)
        assert tab.run(outside) == []


def test_it_prints(tab: Tab, pages: list[Path]) -> None:
    tab.open(pages[0])
    assert tab.printed().startswith(b"%PDF")
