"""`export`, `export_all`, `extract` and `verify` from Python, with plain values."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import emo_prune
from emo_prune import ExportRecord, VerificationReport
from emo_prune.errors import (
    BadSelection,
    EmoPruneError,
    ExportError,
    OutputExists,
    SettingsError,
)
from emo_prune.exports import read_record
from tests.tiny_checkpoints import EMO, opened, selection_of, write_checkpoint

from .test_export import KEPT, snapshot


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of the test's own."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(write_checkpoint(tmp_path / "source", EMO, shards=2))


@pytest.fixture
def selection(model: str) -> emo_prune.Selection:
    return selection_of(opened(Path(model)), KEPT)


def test_a_selection_in_memory_is_exported(
    selection: emo_prune.Selection, model: str
) -> None:
    made = emo_prune.export(selection, model=model, output="small")
    assert made.path == Path("small")
    assert made.is_written
    assert made.record == read_record("small") == ExportRecord.load(
        "small/emo_prune.json"
    )  # fmt: skip
    assert made.num_bytes == opened(Path("small")).checkpoint.num_bytes
    assert emo_prune.verify("small") == VerificationReport(
        num_tensors=made.plan.num_tensors, num_bytes=made.num_bytes, num_files=0
    )


def test_it_goes_where_the_command_would_put_it(
    selection: emo_prune.Selection, model: str
) -> None:
    file = selection.save(Path("emo-prune-out/made-up/selection.json"))
    beside = emo_prune.export(file, model=model)
    assert beside.path == Path("emo-prune-out/made-up/checkpoint")
    shutil.rmtree(beside.path)
    assert emo_prune.export(selection, model=model).path == beside.path


def test_a_dry_run_says_everything_and_writes_nothing(
    selection: emo_prune.Selection, model: str, place: Path
) -> None:
    planned = emo_prune.export(selection, model=model, output="small", dry_run=True)
    assert not planned.is_written
    assert not list(place.iterdir())
    made = emo_prune.export(selection, model=model, output="small")
    assert made.plan.num_bytes == sum(map(len, snapshot(Path("small")).values()))
    assert planned.to_dict() | {"written": True} == made.to_dict() | {
        "tensors": planned.to_dict()["tensors"]
    }


def test_all_pending_selections_are_exported_once(
    selection: emo_prune.Selection, model: str
) -> None:
    for task in ("law", "math"):
        selection.save(f"emo-prune-out/{task}/selection.json")
    made = emo_prune.export_all(model=model, max_shard_size=500)
    assert [one.path.parent.name for one in made] == ["law", "math"]
    assert emo_prune.export_all(model=model) == ()
    other = selection_of(opened(Path(model)), (0, 5, 7))
    other.save("emo-prune-out/law/selection.json")
    with pytest.raises(OutputExists):
        emo_prune.export_all(model=model)
    (again,) = emo_prune.export_all(model=model, force=True)
    assert again.record.selection == other


WRONG: dict[str, tuple[type[EmoPruneError], dict[str, Any]]] = {
    "no selection": (SettingsError, {"output": "small"}),
    "no selection at all": (SettingsError, {}),
    "a number": (SettingsError, {"selection": 3}),
    "another document": (SettingsError, {"selection": ExportRecord}),
    "no such file": (BadSelection, {"selection": "nowhere.json"}),
    "a folder": (BadSelection, {"selection": "."}),
    "a size": (SettingsError, {"max_shard_size": "much"}),
    "a layout": (SettingsError, {"layout": "gguf"}),
    "an unknown output": (SettingsError, {"output": 3}),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_values_are_named(what: str, model: str) -> None:
    kind, given = WRONG[what]
    with pytest.raises(kind) as caught:
        emo_prune.export(model=model, **given)
    assert caught.value.hint
    assert "--" not in f"{caught.value} {caught.value.hint}"


def test_nothing_to_export_is_named() -> None:
    with pytest.raises(ExportError, match="no selection to export"):
        emo_prune.export_all()


def test_what_is_returned_is_shown_in_a_line(
    selection: emo_prune.Selection, model: str
) -> None:
    made = emo_prune.export(selection, model=model, output="small")
    for value in (made, made.plan, made.record):
        assert len(repr(value)) < 300
        assert "experts" in repr(value) or "tensors" in repr(value)


def test_extract_gives_what_select_and_export_give(
    saved: Callable[[str], Path],
) -> None:
    texts = Path("texts.jsonl")
    texts.write_text('{"text": "the river bends"}\n{"text": "count the kettles"}\n')
    model = saved("emo")
    got = emo_prune.extract(model=model, examples=texts, keep=4, output="out/part")
    assert len(repr(got)) < 300
    (subset,) = got.subsets
    assert (subset.checkpoint, subset.selection_file) == (
        Path("out/part"),
        Path("out/selection.json"),
    )
    assert emo_prune.load_selection(subset.selection_file) == subset.selection
    assert json.loads(json.dumps(got.to_dict()))["bytes_read"] == got.bytes_read
    again = emo_prune.export(subset.selection, model=model, output="two")
    assert snapshot(again.path) == snapshot(Path("out/part"))
    assert emo_prune.verify(subset.checkpoint, source=model).num_tensors


# --- places: an empty folder is taken, a loop of links is not -------------------------


def test_an_empty_folder_is_taken(
    selection: emo_prune.Selection,
    model: str,
    saved: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    for name in ("small", "part", "linked"):
        (tmp_path / name).mkdir()
    Path("link").symlink_to(tmp_path / "linked")
    texts = Path("texts.jsonl")
    texts.write_text('{"text": "the river bends"}\n')
    emo_prune.export(selection, model=model, output=tmp_path / "small")
    emo_prune.export(selection, model=model, output="link")
    emo_prune.extract(
        model=saved("emo"), examples=texts, keep=4, output=tmp_path / "part"
    )
    for name in ("small", "part", "linked"):
        assert (tmp_path / name / "emo_prune.json").is_file()
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("output", ["loop", "loop/inside", "selection.json/inside"])
def test_a_place_that_cannot_be_is_named_before_anything_runs(
    selection: emo_prune.Selection,
    model: str,
    saved: Callable[[str], Path],
    place: Path,
    output: str,
) -> None:
    Path("loop").symlink_to("pool")
    Path("pool").symlink_to("loop")
    selection.save("selection.json")
    texts = Path("texts.jsonl")
    texts.write_text('{"text": "the river bends"}\n')
    before = snapshot(place)
    heard: list[str] = []

    class Hears:
        def say(self, text: str) -> None:
            heard.append(text)

        track = emo_prune.progress.SILENT.track

    run: dict[str, Any] = {
        "model": saved("emo"),
        "examples": texts,
        "keep": 4,
        "progress": Hears(),
    }
    calls: tuple[Callable[[], object], ...] = (
        lambda: emo_prune.export(selection, model=model, output=output),
        lambda: emo_prune.extract(output=output, **run),
        lambda: emo_prune.select(output=output, **run),
    )
    for call in calls:
        with pytest.raises(ExportError, match=r"circle|is no folder") as caught:
            call()
        assert "output" in caught.value.hint
    assert not any("building" in text for text in heard)
    assert snapshot(place) == before
