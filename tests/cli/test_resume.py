"""A streamed run that was stopped goes on, to the same bytes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from emo_prune.exports.partial import MARKER
from emo_prune.locks import Lock
from tests.cli.conftest import Run
from tests.cli.extraction import extracted, snapshot

KILL = """
import os, sys
from emo_prune.cli import main
from emo_prune.exports import publishing
from emo_prune.exports.gradual import GradualExport
from emo_prune.routing.saved_run import SavedRun

where, count = sys.argv[1], int(sys.argv[2])
home, name = {"save": (SavedRun, "save"), "write": (GradualExport, "write"),
              "finish": (GradualExport, "finish"),
              "published": (publishing, "tidy")}[where]
real, seen = getattr(home, name), []

def dying(*args, **kwargs):
    seen.append(1)
    if where in ("finish", "published"):
        os._exit(9)
    result = real(*args, **kwargs)
    if len(seen) == count:
        os._exit(9)
    return result

setattr(home, name, dying)
sys.exit(main(sys.argv[3:]))
"""


def killed(where: str, count: int, *arguments: object) -> None:
    """Run a command in a process that ends, as by `kill -9`, at a given point."""
    command = [sys.executable, "-c", KILL, where, str(count), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr


@pytest.mark.parametrize(
    ("where", "count"),
    [("write", 1), ("save", 1), ("write", 2), ("save", 2), ("finish", 1)],
)
def test_killed_anywhere_it_goes_on_to_the_same_bytes(
    run: Run, texts: Path, emo: Path, where: str, count: int
) -> None:
    extracted(run, emo, texts, "--keep", "4")
    command = ("extract", "-m", emo, "--examples", texts, "-k", "4", "-o", "out/part")
    killed(where, count, *command)
    assert not Path("out/part").exists()
    assert not Path("out/selection.json").exists()
    stopped = run(*command)
    assert stopped.code == 1  # it does not quietly start over, nor go on
    assert "--force" in stopped.err
    done = run(*command, "--resume")
    assert done.code == 0, done.err
    assert snapshot(Path("out/part")) == snapshot(Path("one/checkpoint"))
    assert sorted(p.name for p in Path("out").iterdir()) == ["part", "selection.json"]


def test_killed_just_after_it_got_its_name_it_leaves_nothing_behind(
    run: Run, texts: Path, emo: Path
) -> None:
    command = ("extract", "-m", emo, "--examples", texts, "-k", "4", "-o", "out/part")
    assert run(*command[:-3], "5", *command[-2:]).code == 0
    killed("published", 1, *command, "--force")
    assert (Path("out/part") / MARKER).exists()
    assert Path("out/part.replaced").exists()
    done = run(*command, "--resume")
    assert done.code == 0, done.err
    assert sorted(p.name for p in Path("out").iterdir()) == ["part", "selection.json"]
    extracted(run, emo, texts, "--keep", "4")
    assert snapshot(Path("out/part")) == snapshot(Path("one/checkpoint"))


def test_going_on_replaces_what_the_run_was_told_to_and_nothing_else(
    run: Run, texts: Path, emo: Path
) -> None:
    command = ("extract", "-m", emo, "--examples", texts, "-k", "4", "-o", "out/part")
    other = (*command[:-3], "5", "-o", "other")
    assert run(*other).code == 0
    killed("save", 1, *command)
    shutil.copytree("other", "out/part")  # it appears meanwhile
    before = snapshot(Path("out/part"))
    refused = run(*command, "--resume")
    assert refused.code == 1
    assert "exists already" in refused.err
    assert snapshot(Path("out/part")) == before
    killed("save", 1, *command, "--force")
    assert run(*command, "--resume").code == 0
    assert snapshot(Path("out/part")) != before


def test_force_starts_over(run: Run, texts: Path, emo: Path) -> None:
    command = ("extract", "-m", emo, "--examples", texts, "-k", "4", "-o", "out/part")
    killed("save", 1, *command)
    done = run(*command, "--force")
    assert done.code == 0, done.err
    assert "going on" not in done.err
    assert sorted(p.name for p in Path("out").iterdir()) == ["part", "selection.json"]


def test_another_run_does_not_go_on_from_there(
    run: Run, texts: Path, emo: Path
) -> None:
    command = ("extract", "-m", emo, "--examples", texts, "-o", "out/part", "--resume")
    killed("save", 1, *command, "-k", "4")
    before = snapshot(Path("out"))
    for flags, what in (
        (["-k", "5"], "choices"),
        (["-k", "4", "--dtype", "bfloat16"], "dtype"),
        (["-k", "4", "--num-examples", "2"], "batches"),
        (["-k", "4", "--score", "probability"], "choices"),
        (["-k", "4", "--max-shard-size", "1MB"], "max_shard_bytes"),
    ):
        stale = run(*command, *flags)
        assert stale.code == 1
        assert "was another one" in stale.err
        assert what in stale.err
        assert snapshot(Path("out")) == before


@pytest.mark.parametrize("damage", ["state", "length", "layer", "folder"])
def test_what_was_lost_is_noticed(
    run: Run, texts: Path, emo: Path, damage: str
) -> None:
    command = ("extract", "-m", emo, "--examples", texts, "-k", "4", "-o", "out/part")
    killed("save", 1, *command)
    shard = Path("out/part.partial/model.safetensors")
    state = Path("out/part.resume")
    if damage == "state":
        state.write_bytes(state.read_bytes()[:-9])
    elif damage == "length":  # of a header, which must not be believed
        state.write_bytes(b"\xff" * 7 + b"\x0f" + state.read_bytes()[8:])
    elif damage == "layer":
        shard.write_bytes(bytes(shard.stat().st_size))
    else:
        shard.unlink()
    done = run(*command, "--resume")
    assert done.code == 1
    assert "--force" in done.err
    assert not Path("out/part").exists()


def test_interrupted_by_hand_it_says_how_to_go_on(
    run: Run, texts: Path, emo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emo_prune.exports.gradual import GradualExport

    write = GradualExport.write
    calls: list[int] = []

    def interrupted(*arguments: Any) -> int:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return write(*arguments)

    command = ("extract", "-m", emo, "--examples", texts, "-k", "4", "-o", "out/part")
    monkeypatch.setattr(GradualExport, "write", interrupted)
    done = run(*command)
    assert done.code == 130
    assert "resume goes on" in done.err
    monkeypatch.setattr(GradualExport, "write", write)
    assert run(*command, "--resume").code == 0


def test_a_run_that_fails_before_a_layer_is_done_leaves_nothing(
    run: Run, texts: Path, emo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emo_prune.exports.gradual import GradualExport

    def full(*_: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(GradualExport, "write", full)
    done = run("extract", "-m", emo, "--examples", texts, "-k", "4", "-o", "out/part")
    assert done.code == 130
    assert not list(Path("out").iterdir())


@pytest.mark.parametrize("flags", [[], ["--greedy"]])
def test_a_streamed_selection_goes_on_too(
    run: Run, texts: Path, emo: Path, flags: list[str]
) -> None:
    command = ("select", "-m", emo, "--examples", texts, "-k", "4", *flags)
    assert run(*command, "--no-stream", "-o", "whole").code == 0
    killed("save", 1, *command, "--stream", "-o", "out")
    assert [path.name for path in Path("out").iterdir()] == ["selection.json.resume"]
    done = run(*command, "--stream", "-o", "out", "--resume")
    assert done.code == 0, done.err
    assert "going on after layer 0" in done.err
    assert snapshot(Path("out")) == snapshot(Path("whole"))


def test_what_does_not_fit_is_streamed(
    run: Run, texts: Path, emo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emo_prune.routing import placement

    command = ("select", "-m", emo, "--examples", texts, "-k", "4", "--save-scores")
    assert "layer by layer" not in run(*command, "-o", "whole").err
    monkeypatch.setattr(placement, "free_memory", lambda: 1000)
    done = run(*command, "-o", "part")
    assert "layer by layer" in done.err
    assert snapshot(Path("part")) == snapshot(Path("whole"))


def test_resume_alone_replaces_nothing(run: Run, texts: Path, emo: Path) -> None:
    command = ("extract", "-m", emo, "-k", "4", "-o", "out/part")
    assert run(*command, "--examples", texts).code == 0
    before = snapshot(Path("out"))
    refused = run(*command, "--examples", "other.jsonl", "--resume")
    assert refused.code == 1
    assert "exists already" in refused.err
    assert snapshot(Path("out")) == before
    both = run(*command, "--examples", texts, "--resume", "--force")
    assert both.code == 1
    assert "start over" in both.err


def test_tasks_in_another_order_go_on_as_well(run: Run, texts: Path, emo: Path) -> None:
    command = ("extract", "-m", emo, "-k", "4")
    tasks = ["--examples", str(texts), "--examples", "other.jsonl"]
    assert run(*command, *tasks, "-o", "whole").code == 0
    killed("save", 1, *command, *tasks, "-o", "out")
    done = run(*command, *tasks[2:], *tasks[:2], "-o", "out", "--resume")
    assert done.code == 0, done.err
    assert "going on after layer 0" in done.err
    assert snapshot(Path("out")) == snapshot(Path("whole"))


@pytest.mark.parametrize("change", ["dtype", "files"])
def test_a_model_that_was_changed_is_not_gone_on_with(
    run: Run, texts: Path, emo: Path, tmp_path: Path, change: str
) -> None:
    model = tmp_path / "model"
    shutil.copytree(emo, model)
    command = ("extract", "-m", model, "--examples", texts, "-k", "4", "-o", "out/part")
    killed("save", 1, *command)
    if change == "dtype":
        config = json.loads((model / "config.json").read_text())
        config["dtype"] = "float16"
        (model / "config.json").write_text(json.dumps(config))
    else:
        shard = model / "model.safetensors"
        raw = bytearray(shard.read_bytes())
        raw[-1] ^= 1  # beyond what the fingerprint samples
        shard.write_bytes(raw)
    stale = run(*command, "--resume")
    assert stale.code == 1
    assert f"another {change}" in stale.err


def test_a_run_that_was_all_but_finished_goes_on(
    run: Run, texts: Path, emo: Path
) -> None:
    command = ("extract", "-m", emo, "--examples", texts, "-k", "4", "-o", "out/part")
    killed("finish", 1, *command)
    done = run(*command, "--resume")
    assert done.code == 0, done.err
    assert "-" not in done.err.partition("observing routing:")[2].splitlines()[0]


def test_an_interrupted_stream_is_not_forgotten_by_a_model_loaded_whole(
    run: Run, texts: Path, emo: Path
) -> None:
    command = ("select", "-m", emo, "--examples", texts, "-k", "4", "-o", "out")
    killed("save", 1, *command, "--stream")
    assert run(*command, "--no-stream").code == 0
    assert Path("out/selection.json.resume").is_file()


def test_force_takes_nothing_from_a_run_that_goes_on(
    run: Run, texts: Path, emo: Path
) -> None:
    command = ("extract", "-m", emo, "--examples", texts, "-k", "4", "-o", "out/part")
    killed("save", 1, *command)
    before = snapshot(Path("out"))
    another = Lock(Path("out/part.partial"))  # as if it were alive
    assert another.acquire()
    for flag in ("--force", "--resume"):
        refused = run(*command, flag)
        assert refused.code == 1
        assert "another process is writing" in refused.err
        assert snapshot(Path("out")) == before
    another.release()
    assert run(*command, "--resume").code == 0
