"""Pictures in files of their own: SVG that needs nothing, and PNG of the same."""

from __future__ import annotations

import json
import re
import struct
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from emo_prune.errors import ReportError
from emo_prune.reports.page import find_artifacts, picture_files, sections
from tests.reports.conftest import REAL, Edit
from tests.reports.test_page import HOSTILE, PRETRAINED


def files(path: Path, *, png: bool = False) -> dict[str, str | bytes]:
    return dict(picture_files(sections(find_artifacts(path)), png=png))


def test_a_picture_is_named_by_its_artifact_and_what_it_shows(outputs: Path) -> None:
    assert list(files(outputs)) == [
        "results-models.svg",
        "results-categories.svg",
        "results-difference.svg",
        "results-controls.svg",
        "results-tiny-emo-categories.svg",
        "selection-experts.svg",
        "selection-layers.svg",
    ]
    assert list(files(PRETRAINED)) == ["emo-prune-loss.svg"]


@pytest.mark.parametrize("path", [REAL, PRETRAINED])
def test_an_svg_needs_no_style_sheet_and_is_the_same_again(path: Path) -> None:
    found = files(path)
    assert files(path) == found
    for text in found.values():
        assert isinstance(text, str)
        assert not re.search(r"class=|style|var\(|href|url\(", text)
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        for line in root.iter("{http://www.w3.org/2000/svg}line"):
            assert line.attrib["stroke"].startswith("#")


def test_names_from_artifacts_are_text_in_an_svg(folder: Path, edit: Edit) -> None:
    edit("results.json", lambda value: value["comparison"].update(baseline=HOSTILE))
    text = str(files(folder / "results.json")["results-difference.svg"])
    root = ElementTree.fromstring(text)
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= {
        "svg", "title", "rect", "text", "g", "line", "circle",
    }  # fmt: skip


def test_names_that_become_alike_do_not_replace_one_another(
    folder: Path, edit: Edit
) -> None:
    for name in ("a b.json", "a-b.json"):
        (folder / name).write_bytes((folder / "results.json").read_bytes())
        edit(name, lambda value, name=name: value.update(model=name))  # type: ignore[misc]
    names = files(folder)
    assert {"a-b-categories.svg", "a-b-categories-2.svg"} <= names.keys()


@pytest.mark.parametrize("path", [REAL, PRETRAINED, "outputs"])
def test_a_png_has_two_dots_for_each_unit_and_is_the_same_again(
    outputs: Path, path: Path | str
) -> None:
    pytest.importorskip("matplotlib")
    where = outputs if isinstance(path, str) else path
    found = files(where, png=True)
    assert files(where, png=True) == found
    for name, data in found.items():
        if isinstance(data, bytes):
            root = ElementTree.fromstring(str(found[name.replace(".png", ".svg")]))
            size = [round(2 * float(root.attrib[key])) for key in ("width", "height")]
            drawn = struct.unpack(">II", data[16:24])
            assert all(abs(a - b) <= 1 for a, b in zip(drawn, size, strict=True))
    assert len(found) % 2 == 0


def test_a_dollar_sign_and_letters_without_a_glyph_are_painted_as_text(
    folder: Path, edit: Edit
) -> None:
    pytest.importorskip("matplotlib")
    name = "$x^$ \\frac \u6570\u5b66"
    edit("results.json", lambda value: value["categories"][0].update(name=name))
    assert "results-categories.png" in files(folder / "results.json", png=True)


def test_without_matplotlib_png_is_refused_and_svg_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert files(REAL)
    with pytest.raises(ReportError, match="matplotlib") as caught:
        files(REAL, png=True)
    assert "plots" in caught.value.hint


def test_the_numbers_beside_the_dots_are_those_of_the_results(outputs: Path) -> None:
    results = json.loads((outputs / "results.json").read_text())
    text = str(files(outputs / "results.json")["results-difference.svg"])
    head = results["comparison"]["headline"]
    low, high = head["interval"]
    assert f"{head['difference']:+.2f} ({low:+.2f} to {high:+.2f})" in text
