"""Whatever an artifact holds ends in a page of text, or in an error by its name."""

from __future__ import annotations

import contextlib
import copy
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emo_prune import EmoPruneError, report
from emo_prune.cli import main
from emo_prune.reports.page import find_artifacts, page, picture_files, sections
from tests.reports.conftest import REAL, Edit, Edited, html_of, one_size
from tests.reports.test_page import PRETRAINED, Reader

SCRIPT = "</title><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
CONTROLS = "\x00\x1b]0;owned\x07\x1b[2J\x9b31m\u202edesrever\u2066\u200f"
HOSTILE = SCRIPT + CONTROLS
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
DEEP = "[" * 100_000 + "]" * 100_000
DIGITS = "9" * 5_000
FILES = (
    "selection.json",
    "results.json",
    "checkpoint/emo_prune.json",
    "sweep.json",
    "pretrained/emo_prune.json",
)
_EXTREMES: tuple[Any, ...] = (0, -1, 1e99, -1e99, 10**99, 2**64, "", None, [], {}, 0.5)


def name_all(value: Any, text: str, keys: frozenset[str]) -> None:
    """Replace the texts under some keys, wherever in a JSON value they are."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(items):
        if isinstance(item, dict | list):
            name_all(item, text, keys)
        elif isinstance(item, str) and key in keys:
            value[key] = text


NAMES = frozenset({"name", "model", "task", "baseline", "category", "short", "score"})


def with_names(folder: Path, edit: Edit) -> None:
    for name in ("selection.json", "results.json"):
        edit(name, lambda value: name_all(value, HOSTILE, NAMES))
    (folder / "checkpoint/emo_prune.json").unlink()  # its selection has a hash
    (folder / "results-tiny-emo.json").unlink()


def test_names_with_markup_and_control_characters_are_text(
    folder: Path, edit: Edit
) -> None:
    with_names(folder, edit)
    text = html_of(folder)
    reader = Reader(text)
    names = [tag for tag, _ in reader.elements]
    assert names.count("script") == 1
    assert "img" not in names
    assert not any(key.startswith("on") for _, a in reader.elements for key in a)
    assert not UNSEEN.search(text)
    assert "<script>alert(1)" in "".join(reader.text)


def test_names_in_pictures_are_text(folder: Path, edit: Edit) -> None:
    with_names(folder, edit)
    found = picture_files(sections(find_artifacts(folder)))
    assert found
    for name, text in found.items():
        assert re.fullmatch(r"[a-z0-9-]+\.svg", name)
        assert "<script" not in str(text)
        assert not UNSEEN.search(str(text))


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
def test_a_files_own_name_reaches_page_and_terminal_as_text(
    outputs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "<script>\x1b[2J\u202e.json"
    file.write_bytes((outputs / "selection.json").read_bytes())
    assert main(["report", str(file), "-o", str(tmp_path / "page.html")]) == 0
    assert not UNSEEN.search(capfd.readouterr().out)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert [tag for tag, _ in Reader(text).elements].count("script") == 1
    assert not UNSEEN.search(text)


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
def test_a_name_that_is_no_text_is_shown_as_far_as_it_is(
    outputs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder-\udcff"
    folder.mkdir()
    (folder / "selection.json").write_bytes((outputs / "selection.json").read_bytes())
    made = report(folder)
    assert "folder-\ufffd" in made.path.read_text(encoding="utf-8")
    assert main(["report", str(folder)]) == 0
    assert "report.html" in capfd.readouterr().out


@pytest.fixture
def artifact(
    request: pytest.FixtureRequest, folder: Path, tmp_path: Path
) -> tuple[Path, Any]:
    """A file of each kind, and its value."""
    name: str = request.param
    source = {
        "sweep.json": REAL,
        "pretrained/emo_prune.json": PRETRAINED / "emo_prune.json",
    }.get(name, folder / name)
    file = tmp_path / "given" / Path(name).name
    file.parent.mkdir()
    return file, json.loads(source.read_text())


@pytest.mark.parametrize("artifact", FILES, indirect=True)
@pytest.mark.parametrize("inner", [DEEP, DIGITS, f"-{DIGITS}", "1" + "0" * 400])
def test_deep_nesting_and_giant_numbers_are_named(
    artifact: tuple[Path, Any], inner: str, capfd: pytest.CaptureFixture[str]
) -> None:
    file, value = artifact
    key = next(key for key in value if key != "schema")
    file.write_text(json.dumps({**value, key: "HERE"}).replace('"HERE"', inner))
    assert main(["report", str(file)]) == 1
    said = capfd.readouterr().err
    assert file.name in said
    assert "hint: " in said
    assert "Traceback" not in said
    assert not list(file.parent.glob("*.html"))


@pytest.mark.parametrize("inner", [DEEP, DIGITS])
def test_deep_nesting_and_giant_numbers_in_flipped_questions_are_named(
    outputs: Path, tmp_path: Path, inner: str
) -> None:
    samples = tmp_path / "flips.jsonl"
    samples.write_text(f'{{"model": {inner}}}\n')
    with pytest.raises(EmoPruneError, match=r"flips\.jsonl"):
        report(outputs / "results.json", samples=samples, output=tmp_path / "page.html")
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "flips.jsonl").write_bytes(samples.read_bytes())
    (beside / "results.json").write_bytes((outputs / "results.json").read_bytes())
    assert report(beside).artifacts == ("results.json",)


@pytest.mark.parametrize("artifact", FILES, indirect=True)
def test_any_value_in_any_place_ends_in_a_page_or_a_named_error(
    artifact: tuple[Path, Any],
) -> None:
    assert_shown_or_named(*artifact)


def assert_shown_or_named(file: Path, value: Any) -> None:
    """Put an extreme into each kind of place, one after the other."""
    for n, place in enumerate(places_of(value)):
        changed = copy.deepcopy(value)
        put(changed, place, _EXTREMES[n % len(_EXTREMES)])
        file.write_text(json.dumps(changed))
        with contextlib.suppress(EmoPruneError):
            assert page(find_artifacts(file)).endswith("</html>\n")


def places_of(value: Any) -> list[tuple[Any, ...]]:
    """One place of each kind within a JSON value."""
    found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for place in walked(value):
        found.setdefault(tuple("#" if type(k) is int else k for k in place), place)
    return list(found.values())


def walked(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at:
        yield at
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from walked(item, (*at, key))


def put(value: Any, place: tuple[Any, ...], new: Any) -> None:
    for key in place[:-1]:
        value = value[key]
    value[place[-1]] = new


def test_a_score_that_a_package_brings_is_shown(
    folder: Path, edit: Edit, edited: Edited
) -> None:
    edit("selection.json", lambda value: value["method"].update(score="of-a-package"))
    assert ", by of-a-package <small>" in html_of(folder / "selection.json")

    def rename(value: dict[str, Any]) -> None:
        one_size(value)
        value["scores"][0] = "of-a-package"
        for row in value["subsets"]:
            if row["score"] == "frequency":
                row["score"] = "of-a-package"

    text = html_of(edited(rename))
    assert ">50% of-a-package<" in text
    assert "chosen by of-a-package, lose nothing" in text


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_place_that_is_a_loop_of_links_is_named(
    outputs: Path, tmp_path: Path
) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for given in (loop, loop / "results.json"):
        with pytest.raises(EmoPruneError, match="loop"):
            report(given)
    for output in (loop, loop / "page.html", tmp_path / "page.html" / "page.html"):
        (tmp_path / "page.html").touch()
        with pytest.raises(EmoPruneError):
            report(outputs / "selection.json", output=output)
