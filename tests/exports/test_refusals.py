"""Whatever goes wrong, nothing is left behind and nothing earlier is lost."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emo_prune.errors import (
    BadSelection,
    EmoPruneError,
    ExportError,
    FingerprintMismatch,
    HeaderError,
    MissingShard,
    NotACheckpoint,
    NotEnoughDisk,
    OutputExists,
)
from emo_prune.exports import (
    ExportPlan,
    check_destination,
    plan_export,
    verify_export,
    write_export,
)
from emo_prune.exports.partial import MARKER
from emo_prune.places import RECORD
from tests.tiny_checkpoints import EMO, opened, selection_of, write_checkpoint

from .test_export import KEPT, snapshot


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = write_checkpoint(tmp_path / "source", EMO, shards=2)
    (folder / "tokenizer.json").write_text("{}")
    return folder


@pytest.fixture
def plan(source: Path) -> ExportPlan:
    model = opened(source)
    return plan_export(model, selection_of(model, KEPT), max_shard_bytes=500)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def refused(
    plan: ExportPlan, out: Path, kind: type[BaseException], **options: Any
) -> Any:
    """Export; return the error it must end in, with everything as before."""
    before = snapshot(out.parent)
    with pytest.raises(kind) as caught:
        write_export(plan, out, **options)
    if isinstance(caught.value, EmoPruneError):
        assert caught.value.hint
    assert snapshot(out.parent) == before
    assert not out.with_name("out.partial").exists()
    return caught.value


# --- places -------------------------------------------------------------------------


def test_what_exists_is_not_replaced(plan: ExportPlan, out: Path) -> None:
    write_export(plan, out)
    assert "force=True" in refused(plan, out, OutputExists).hint
    shutil.rmtree(out)
    out.write_text("mine")
    refused(plan, out, OutputExists)
    refused(plan, out, OutputExists, force=True)


def test_force_replaces_exports_alone(plan: ExportPlan, out: Path) -> None:
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    refused(plan, out, OutputExists, force=True)


def test_force_replaces_an_export(plan: ExportPlan, out: Path) -> None:
    write_export(plan, out)
    first = snapshot(out)
    (out / "stray").write_text("x")
    refused(plan, out, OutputExists)
    write_export(plan, out, force=True)
    assert snapshot(out) == first
    assert not list(out.parent.glob("out.*"))


@pytest.mark.parametrize("place", ["source", "source/out", "source/a/b", ".", ".."])
def test_source_is_not_written_into(plan: ExportPlan, source: Path, place: str) -> None:
    before = snapshot(source.parent)
    for force in (False, True):
        with pytest.raises(ExportError) as caught:
            write_export(plan, source.parent / place, force=force)
        assert caught.value.hint
        with pytest.raises(ExportError):
            check_destination(
                plan.model.checkpoint.source, source.parent / place, force=force
            )
    assert snapshot(source.parent) == before


def test_source_is_recognised_through_a_link(
    plan: ExportPlan, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(source)
    with pytest.raises(ExportError, match="inside the source"):
        write_export(plan, tmp_path / "link" / "out")


def test_link_to_an_export_is_replaced_behind_the_link(
    plan: ExportPlan, tmp_path: Path
) -> None:
    write_export(plan, tmp_path / "disk" / "real")
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "real")
    refused(plan, tmp_path / "out", OutputExists)
    write_export(plan, tmp_path / "out", force=True)
    assert (tmp_path / "out").is_symlink()
    assert [p.name for p in (tmp_path / "disk").iterdir()] == ["real"]


def test_current_folder_can_be_replaced(
    plan: ExportPlan, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_export(plan, out)
    monkeypatch.chdir(out)
    with pytest.raises(OutputExists):
        write_export(plan, Path())
    write_export(plan, Path(), force=True)
    assert (out / RECORD).is_file()


def test_unfinished_export_is_in_the_way_until_forced(
    plan: ExportPlan, out: Path
) -> None:
    partial = out.with_name("out.partial")
    partial.mkdir()
    (partial / MARKER).touch()
    (partial / "model.safetensors").write_text("half")
    with pytest.raises(OutputExists, match="unfinished") as caught:
        write_export(plan, out)
    assert "force=True" in caught.value.hint
    assert (partial / "model.safetensors").read_text() == "half"
    write_export(plan, out, force=True)
    assert not partial.exists()


_KILLED_WHILE_REPLACING = """
import os, sys
from pathlib import Path
from emo_prune.exports.publishing import publish
partial, out, number = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
changes = iter(range(number))
def kill(event, args):
    if event in {"os.rename", "os.remove", "os.rmdir"} and next(changes, None) is None:
        os._exit(9)
sys.addaudithook(kill)
publish(partial, out, force=True)
"""


def test_killed_at_any_change_of_the_disk_a_replacement_can_be_forced_again(
    plan: ExportPlan, out: Path
) -> None:
    write_export(plan, out)
    whole = snapshot(out)
    partial, replaced = out.with_name("out.partial"), out.with_name("out.replaced")
    codes: list[int] = []
    while not codes or codes[-1] == 9:
        shutil.copytree(out, partial)
        (partial / MARKER).touch()
        command = [
            sys.executable,
            "-c",
            _KILLED_WHILE_REPLACING,
            str(partial),
            str(out),
        ]
        done = subprocess.run([*command, str(len(codes))], check=False)
        codes.append(done.returncode)
        there = [path for path in (out, partial, replaced) if path.is_dir()]
        assert any(snapshot(path).items() >= whole.items() for path in there)
        write_export(plan, out, force=True)
        assert snapshot(out) == whole
        assert not list(out.parent.glob("out.*"))
    assert codes[-1] == 0
    assert len(codes) > 2 + len(whole)  # two renames, and each file of the old one


@pytest.mark.parametrize("after", [1, 2])
def test_a_replacement_stopped_by_hand_after_a_rename_is_old_or_new(
    plan: ExportPlan, out: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    write_export(plan, out)
    whole = snapshot(out)
    real, renames = Path.rename, iter(range(1, 9))

    def interrupted(self: Path, to: Path) -> Path:
        found = real(self, to)
        if next(renames) == after:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_export(plan, out, force=True)
    assert snapshot(out).items() >= whole.items()
    assert not out.with_name("out.partial").exists()
    write_export(plan, out, force=True)
    assert snapshot(out) == whole
    assert not list(out.parent.glob("out.*"))


@pytest.mark.parametrize("suffix", ["partial", "replaced"])
def test_a_source_with_the_name_of_a_leftover_is_not_removed(
    source: Path, tmp_path: Path, suffix: str
) -> None:
    odd = source.rename(tmp_path / f"out.{suffix}")
    (odd / MARKER).touch()
    before = snapshot(odd)
    model = opened(odd)
    plan = plan_export(model, selection_of(model, KEPT))
    with pytest.raises(ExportError, match="inside the source, or around it"):
        write_export(plan, tmp_path / "out", force=True)
    assert snapshot(odd) == before


@pytest.mark.parametrize("name", ["out.partial", "out.replaced"])
@pytest.mark.parametrize("what", ["folder", "file", "link"])
def test_what_bears_the_name_of_a_leftover_is_left_alone(
    plan: ExportPlan, out: Path, name: str, what: str
) -> None:
    write_export(plan, out)
    path = out.with_name(name)
    if what == "folder":
        path.mkdir()
        (path / "thesis.txt").write_text("precious")
    elif what == "file":
        path.write_text("precious")
    else:
        path.symlink_to(out.parent)
    before = snapshot(out.parent)
    for force in (False, True):
        with pytest.raises(OutputExists) as caught:
            write_export(plan, out, force=force)
        assert "output" in caught.value.hint
    assert snapshot(out.parent) == before


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_appears_while_an_export_is_written_is_left_alone(
    plan: ExportPlan, out: Path, what: str, force: bool
) -> None:
    def appear(_: int) -> None:
        if what == "file":
            out.write_text("precious")
        elif not out.exists():
            out.mkdir()
            (out / "thesis.txt").write_text("precious")

    with pytest.raises(OutputExists):
        write_export(plan, out, force=force, progress=appear)
    precious = out if what == "file" else out / "thesis.txt"
    assert precious.read_text() == "precious"
    assert not list(out.parent.glob("out.*"))


def test_no_marker_is_left_in_an_export(plan: ExportPlan, out: Path) -> None:
    write_export(plan, out)
    write_export(plan, out, force=True)
    assert not (out / MARKER).exists()


def test_force_is_offered_only_where_it_would_help(plan: ExportPlan, out: Path) -> None:
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    with pytest.raises(OutputExists, match="exists already") as caught:
        write_export(plan, out)
    assert "would not replace" in caught.value.hint


@pytest.mark.parametrize("place", ["/proc/out", "/proc/a/out", "/dev/null/out"])
def test_place_that_cannot_be_written_is_named(plan: ExportPlan, place: str) -> None:
    with pytest.raises(ExportError) as caught:
        write_export(plan, Path(place))
    assert "output" in caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_read_only_folder_is_named(plan: ExportPlan, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    with pytest.raises(ExportError, match="cannot be written"):
        write_export(plan, tmp_path / "locked" / "out")


# --- disks --------------------------------------------------------------------------


def test_output_that_does_not_fit_is_not_begun(
    plan: ExportPlan, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(out.parent)._replace(free=plan.num_bytes - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    told: list[int] = []
    error = refused(plan, out, NotEnoughDisk, progress=told.append)
    assert f"{plan.num_bytes:,}" in str(error)
    assert not told


def test_file_that_may_not_grow_leaves_nothing(plan: ExportPlan, out: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, hard))
    try:
        refused(plan, out, NotEnoughDisk)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8k", "none", str(disk)]
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("only root may make a small disk")
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be made here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_disk_that_becomes_full_leaves_nothing(
    plan: ExportPlan, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(small_disk)._replace(free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert "became full" in str(refused(plan, small_disk / "out", NotEnoughDisk))


def test_a_mounted_disk_gets_no_name(plan: ExportPlan, small_disk: Path) -> None:
    with pytest.raises(ExportError, match="mounted") as caught:
        write_export(plan, small_disk)
    assert str(small_disk) in caught.value.hint


# --- interruptions ------------------------------------------------------------------


def interrupt_at(call: int, error: BaseException) -> Callable[[int], None]:
    calls = iter(range(10**6))

    def progress(_: int) -> None:
        if next(calls) == call:
            raise error

    return progress


@pytest.mark.parametrize("call", [0, 1, 7])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), SystemExit(1)])
def test_interruption_leaves_nothing(
    plan: ExportPlan, out: Path, call: int, error: BaseException
) -> None:
    refused(plan, out, type(error), progress=interrupt_at(call, error))


def test_interruption_leaves_the_earlier_export(
    plan: ExportPlan, source: Path, out: Path
) -> None:
    write_export(plan, out)
    progress = interrupt_at(3, KeyboardInterrupt())
    refused(plan, out, KeyboardInterrupt, force=True, progress=progress)
    verify_export(out, opened(source))


@pytest.mark.parametrize("rename", [0, 1])
def test_interruption_while_replacing_leaves_the_earlier_export(
    plan: ExportPlan, out: Path, monkeypatch: pytest.MonkeyPatch, rename: int
) -> None:
    write_export(plan, out)
    real, renames = Path.rename, iter(range(9))

    def interrupted(path: Path, target: Path) -> Path:
        if next(renames) == rename:
            raise KeyboardInterrupt
        return real(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    refused(plan, out, KeyboardInterrupt, force=True)
    assert not out.with_name("out.replaced").exists()


# --- sources ------------------------------------------------------------------------


def test_source_that_shrinks_is_named(
    plan: ExportPlan, source: Path, out: Path
) -> None:
    shard = source / "model-00002-of-00002.safetensors"
    raw = shard.read_bytes()
    shard.write_bytes(raw[:-1])
    refused(plan, out, HeaderError)
    shard.unlink()
    refused(plan, out, MissingShard)


def test_source_whose_record_is_damaged_is_named(source: Path) -> None:
    (source / RECORD).write_text("{")
    model = opened(source)
    with pytest.raises(NotACheckpoint, match="JSON") as caught:
        plan_export(model, selection_of(model, KEPT))
    assert caught.value.where == RECORD


def test_selection_of_another_checkpoint_is_named(source: Path, tmp_path: Path) -> None:
    other = opened(write_checkpoint(tmp_path / "other", {**EMO, "rope_theta": 1.0}))
    with pytest.raises(FingerprintMismatch):
        plan_export(opened(source), selection_of(other, KEPT))


def test_selection_without_the_shared_expert_is_named(source: Path) -> None:
    model = opened(source)
    with pytest.raises(BadSelection):
        plan_export(model, selection_of(model, (0, 1, 2, 3)))
