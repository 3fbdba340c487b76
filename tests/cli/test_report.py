"""`emo-prune report`: where the page goes, and what it will not do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.test_errors import assert_named


def test_a_page_of_the_default_folder_needs_no_options(
    run: Run, exported: Path
) -> None:
    made = run("report")
    assert made.code == 0, made.err
    assert made.out.startswith("wrote emo-prune-out/report.html: ")
    assert "Selection: tiny-emo" in Path("emo-prune-out/report.html").read_text()


def test_the_page_of_a_checkpoint_lies_beside_it_and_verify_still_agrees(
    run: Run, exported: Path, emo: Path
) -> None:
    made = run("report", exported)
    assert made.code == 0, made.err
    assert (exported.parent / "checkpoint.html").is_file()
    assert run("verify", exported, "--source", emo).code == 0


def test_a_report_is_replaced_and_nothing_else_is(run: Run, exported: Path) -> None:
    selection = exported.parent / "selection.json"
    page = exported.parent / "selection.html"
    for _ in range(2):
        assert run("report", selection).code == 0
    page.write_text("<p>of somebody else</p>")
    assert_named(run("report", selection), "exists already", "selection.html")
    assert page.read_text() == "<p>of somebody else</p>"
    assert run("report", selection, "--force").code == 0
    assert "Selection: tiny-emo" in page.read_text()


def test_pictures_go_into_a_folder_and_are_replaced_as_pages_are(
    run: Run, exported: Path
) -> None:
    selection = exported.parent / "selection.json"
    for _ in range(2):
        made = run("report", selection, "--pictures", "drawn")
        assert made.code == 0, made.err
        assert made.out.endswith("wrote 2 pictures into drawn\n")
    names = sorted(file.name for file in Path("drawn").iterdir())
    assert names == ["selection-experts.svg", "selection-layers.svg"]
    foreign = Path("drawn/selection-layers.svg")
    foreign.write_text("<svg/>")
    page = exported.parent / "selection.html"
    page.unlink()
    failed = run("report", selection, "--pictures", "drawn")
    assert_named(failed, "exists already", "selection-layers.svg")
    assert not page.exists()
    assert foreign.read_text() == "<svg/>"
    assert run("report", selection, "--pictures", "drawn", "--force").code == 0
    assert foreign.read_text() != "<svg/>"


def test_pictures_as_png_need_a_folder_that_is_no_checkpoint(
    run: Run, exported: Path
) -> None:
    selection = exported.parent / "selection.json"
    assert_named(run("report", selection, "--png"), "--pictures DIR")
    inside = run("report", selection, "--pictures", exported)
    assert_named(inside, "into a checkpoint")
    assert not selection.with_suffix(".html").exists()
    pytest.importorskip("matplotlib")
    assert run("report", selection, "--pictures", "drawn", "--png").code == 0
    assert len(list(Path("drawn").glob("*.png"))) == 2


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("nowhere",), "nowhere"),
        (("nowhere.json",), "No such file"),
        (("broken.json",), "not valid JSON"),
        (("foreign.json",), "nothing to report on"),
        (("empty",), "nothing to report on"),
        (("model",), "emo_prune.json"),
        (("newer.json",), "emo-prune/selection/9"),
        (("bare.json",), "bare.json"),
        (("swept.json",), "swept.json"),
        (("bare.json", "--samples", "empty.jsonl"), "no such file"),
        (("foreign.json", "-o", "page.json"), ".html"),
        (("foreign.json", "-o", "model/page.html"), "into a checkpoint"),
    ],
)
def test_what_cannot_be_shown_is_named_and_nothing_is_written(
    run: Run, workplace: Path, arguments: tuple[str, ...], word: str
) -> None:
    Path("empty").mkdir()
    Path("model").mkdir()
    Path("model/config.json").write_text("{}")
    Path("model/model.safetensors").touch()
    Path("broken.json").write_text('{"schema": ')
    Path("foreign.json").write_text('{"schema": "somebody/else"}')
    Path("newer.json").write_text('{"schema": "emo-prune/selection/9"}')
    Path("bare.json").write_text('{"schema": "emo-prune/selection/1"}')
    Path("swept.json").write_text('{"schema": "emo-prune/sweep/1"}')
    before = sorted(workplace.rglob("*"))
    assert_named(run("report", *arguments), word)
    assert sorted(workplace.rglob("*")) == before


def test_any_config_does_not_make_a_folder_a_checkpoint(
    run: Run, exported: Path
) -> None:
    Path("config.json").write_text("{}")  # of some other program
    made = run("report", ".")
    assert made.code == 0, made.err
    assert Path("report.html").is_file()


def test_an_impossible_selection_is_named(run: Run, exported: Path) -> None:
    file = exported.parent / "selection.json"
    value = json.loads(file.read_text())
    value["layers"][0]["kept"][-1] = 99
    file.write_text(json.dumps(value))
    assert_named(run("report", file), "expert 99", "0 to 7")
    for giant in (10**400, -1e308):
        value["layers"][0]["retained_mass"] = giant
        file.write_text(json.dumps(value))
        assert_named(run("report", file), "too large")
