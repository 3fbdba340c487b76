"""A sweep over Ray: the same bytes whoever dies; named errors without a cluster."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file, save_file

from emo_prune.architectures.opening import open_local
from emo_prune.errors import BadExamples, CheckpointError, SweepError
from emo_prune.evaluation import scored_model
from emo_prune.facts import SCORING
from emo_prune.files import versions
from emo_prune.options import ScoringOptions, SweepOptions
from emo_prune.sweeps import sweep_tasks
from emo_prune.sweeps.ray_workers import Assigned, RayWorker
from emo_prune.sweeps.work import Score
from emo_prune.tasks import TaskOptions
from tests.cli.conftest import Files, Run, own
from tests.tiny_models import save_tiny

STATE = Path("emo-prune-out/sweep.json.state")
SWEEP = Path("emo-prune-out/sweep.json")


@pytest.fixture(autouse=True)
def own_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ray ask for a token, but make none in the user's home."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "5" * 64)


def cells() -> list[Path]:
    """Finished cells of the sweep in the working folder."""
    return list(STATE.glob("tasks/*/[!.]*[!k].json"))


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def workers() -> Iterator[psutil.Process]:
    """Actors at work below this process."""
    for process in psutil.Process().children(recursive=True):
        try:
            if process.name().startswith("ray::RayWorker"):
                yield process
        except psutil.NoSuchProcess:
            continue


def kill_workers(stop: threading.Event, most: int) -> None:
    """Kill so many actors, the first one after a cell is done."""
    while not stop.is_set() and most > 0:
        for process in workers() if cells() else ():
            process.kill()
            most -= 1
            break
        time.sleep(0.05)


@contextlib.contextmanager
def killing(most: int) -> Iterator[None]:
    """Let a thread kill so many actors meanwhile."""
    stop = threading.Event()
    killer = threading.Thread(target=kill_workers, args=(stop, most))
    killer.start()
    try:
        yield
    finally:
        stop.set()
        killer.join()


@contextlib.contextmanager
def cluster(port: int) -> Iterator[str]:
    """A Ray cluster of this machine, by its address."""
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    quiet = ["--include-dashboard=false", "--disable-usage-stats", "--num-cpus=1"]
    # in the foreground, so that it ends with its process
    head = [*ray, "start", "--head", "--block", f"--port={port}", *quiet]
    with subprocess.Popen(
        head, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


def test_over_ray_it_ends_with_the_same_bytes_and_computes_nothing_twice(
    run: Run, emo: Path, two_tasks: tuple[object, ...], tmp_path: Path
) -> None:
    rival = save_tiny(tmp_path / "rival", "olmoe")
    command = ("sweep", "-m", emo, *two_tasks, "-k", "4,6", "--also", rival, "--json")
    alone = run(*command, "-o", "alone")
    assert alone.code == 0, alone.err
    over_ray = run(*command, "--ray", "local")
    assert over_ray.code == 0, over_ray.err
    assert "workers of Ray" in over_ray.err
    assert "8 of 8 cells" in over_ray.err
    assert over_ray.out == alone.out
    for file in Path("alone").rglob("*"):
        if file.is_file():
            twin = Path("emo-prune-out") / file.relative_to("alone")
            assert twin.read_bytes() == file.read_bytes()
    again = run(*command, "--ray", "local")
    assert again.out == alone.out
    assert "workers of Ray" not in again.err


def test_a_worker_that_dies_is_replaced_and_the_bytes_are_the_same(
    run: Run, emo: Path, two_tasks: tuple[object, ...]
) -> None:
    command = ("sweep", "-m", emo, *two_tasks, "-k", "4,6", "--json")
    alone = run(*command, "-o", "alone")
    with killing(1):
        over_ray = run(*command, "--ray", "local")
    assert over_ray.code == 0, over_ray.err
    assert "A worker died" in over_ray.err  # Ray's words, kept out of the document
    assert over_ray.out == alone.out


@pytest.mark.slow
def test_workers_that_die_for_good_end_in_an_error_and_finished_cells_stay(
    run: Run, emo: Path, two_tasks: tuple[object, ...]
) -> None:
    command = ("sweep", "-m", emo, *two_tasks, "-k", "4,6", "--json")
    alone = run(*command, "-o", "alone")
    with killing(99):
        over_ray = run(*command, "--ray", "local")
    assert over_ray.code == 1
    assert "a worker of Ray died" in over_ray.err
    assert "the same command goes on" in over_ray.err
    assert not SWEEP.exists()
    done = {path: path.stat().st_mtime_ns for path in cells()}
    assert done
    finished = run(*command)
    assert finished.out == alone.out
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())


@pytest.mark.slow
def test_killed_itself_it_goes_on_over_ray_and_ends_with_the_same_bytes(
    run: Run, emo: Path, two_tasks: tuple[object, ...]
) -> None:
    command = ("sweep", "-m", emo, *two_tasks, "-k", "4,6")
    assert run(*command, "-o", "alone").code == 0
    over_ray = [sys.executable, "-m", "emo_prune", *map(str, command), "--ray", "local"]
    for stop, code in ((signal.SIGKILL, -9), (signal.SIGTERM, 128 + 15)):
        before = len(cells())
        process = subprocess.Popen(over_ray, stderr=subprocess.DEVNULL)
        while len(cells()) == before and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(stop)
        assert process.wait() == code
    done = {path: path.stat().st_mtime_ns for path in cells()}
    assert run(*command, "--ray", "local").code == 0
    assert SWEEP.read_bytes() == Path("alone/sweep.json").read_bytes()
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())


@pytest.mark.slow
def test_what_a_worker_cannot_do_is_named_as_it_is_without_ray(
    run: Run, emo: Path, two_tasks: tuple[object, ...], tmp_path: Path
) -> None:
    broken = save_tiny(tmp_path / "broken", "olmoe")
    weights = load_file(broken / "model.safetensors")
    weights["lm_head.weight"].fill_(float("nan"))
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    command = ("sweep", "-m", emo, *two_tasks, "-k", "4", "--also", broken)
    over_ray = run(*command, "--ray", "local")
    assert over_ray.code == 1
    assert "log-likelihoods are not numbers" in over_ray.err
    assert "hint: check the checkpoint" in over_ray.err
    assert "4 of 6 cells" in over_ray.err
    assert "Traceback" not in over_ray.err


@pytest.mark.slow
def test_a_cluster_is_found_by_its_address(
    run: Run, emo: Path, example_files: Files
) -> None:
    command = ("sweep", "-m", emo, *own(example_files), "-k", "4", "--json")
    alone = run(*command, "-o", "alone")
    with cluster(free_port()) as address:
        for _ in range(60):  # until it is up
            over_ray = run(*command, "--ray", address)
            if "no Ray cluster answers" not in over_ray.err:
                break
            time.sleep(0.5)
    assert over_ray.code == 0, over_ray.err
    assert over_ray.out == alone.out


def test_an_address_where_nobody_answers_is_refused_at_once(
    run: Run, emo: Path, example_files: Files
) -> None:
    started = time.monotonic()
    command = ("sweep", "-m", emo, *own(example_files), "-k", "4", "--ray")
    for address in (f"127.0.0.1:{free_port()}", "no-such-host.invalid:6379"):
        refused = run(*command, address)
        assert refused.code == 1
        assert "no Ray cluster answers" in refused.err
        assert address in refused.err
        assert "--ray local" in refused.err
        assert "building" not in refused.err
    assert time.monotonic() - started < 10
    assert not STATE.exists()


def test_one_of_several_gpus_cannot_be_asked_for(
    run: Run, emo: Path, example_files: Files
) -> None:
    command = ("sweep", "-m", emo, *own(example_files), "--ray", "local")
    refused = run(*command, "--device", "cuda:1")
    assert refused.code == 1
    assert "leave out --device" in refused.err


def test_without_ray_the_extra_is_named(
    run: Run, emo: Path, example_files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    refused = run("sweep", "-m", emo, *own(example_files), "--ray", "local")
    assert refused.code == 1
    assert "emo-prune[ray]" in refused.err


def assigned(emo: Path, files: Files) -> tuple[Assigned, Score]:
    """What a worker is told, the documents' hash being made up."""
    _, identity = open_local(str(emo))
    model = scored_model(str(emo))
    told = Assigned(
        model=model,
        identity=identity,
        prompts=TaskOptions(),
        scoring=ScoringOptions(),
        versions=versions(*SCORING),
    )
    (task,) = sweep_tasks(SweepOptions(examples=files[0], test=files[1]))
    score = Score(
        model=model, task=task, selection=None, name="tiny", sha256="sha256:0"
    )
    return told, score


def test_a_worker_names_what_it_does_not_have(
    emo: Path, example_files: Files, tmp_path: Path
) -> None:
    told, score = assigned(emo, example_files)
    gone = replace(score, model=replace(told.model, folder=tmp_path / "gone"))
    with pytest.raises(CheckpointError, match="no such folder"):
        RayWorker(told).run(0, gone)
    with pytest.raises(CheckpointError, match="another model"):
        RayWorker(replace(told, identity="sha256:1")).run(0, score)
    with pytest.raises(SweepError, match="other versions"):
        RayWorker(replace(told, versions={"torch": "0"})).run(0, score)
    with pytest.raises(SweepError, match="not the same on all machines"):
        RayWorker(told).run(0, score)
    scored = replace(score.task.scored, examples=tmp_path / "gone.jsonl")
    elsewhere = replace(score, task=replace(score.task, scored=scored))
    with pytest.raises(BadExamples, match=r"gone\.jsonl"):
        RayWorker(told).run(0, elsewhere)
