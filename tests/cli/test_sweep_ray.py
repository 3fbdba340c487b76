"""A sweep over Ray: the same bytes, whoever dies, and named errors without a cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.cli.conftest import Run
from tests.tiny_models import save_tiny

STATE = Path("emo-prune-out/sweep.json.state")
SWEEP = Path("emo-prune-out/sweep.json")


def cells() -> list[Path]:
    """Finished cells of the sweep in the working folder."""
    return list(STATE.glob("tasks/*/[!.]*[!k].json"))


def workers() -> Iterator[psutil.Process]:
    """Actors at work below this process."""
    for process in psutil.Process().children(recursive=True):
        try:
            if process.name().startswith("ray::Worker"):
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


@pytest.fixture
def killing() -> Iterator[list[threading.Thread]]:
    """Threads that kill, ended with the test."""


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


@pytest.mark.parametrize("deaths", [1, 99])
def test_workers_that_die(
    run: Run, emo: Path, two_tasks: tuple[object, ...], deaths: int
) -> None:
    command = ("sweep", "-m", emo, *two_tasks, "-k", "4,6", "--json")
    alone = run(*command, "-o", "alone")
    stop = threading.Event()
    killer = threading.Thread(target=kill_workers, args=(stop, deaths))
    killer.start()
    over_ray = run(*command, "--ray", "local")
    stop.set()
    killer.join()
    print(over_ray.err)
    if deaths == 1:
        assert over_ray.code == 0, over_ray.err
        assert over_ray.out == alone.out
        return
    assert over_ray.code == 1
    assert "a worker of Ray died" in over_ray.err
    assert "the same command goes on" in over_ray.err
    done = {path: path.stat().st_mtime_ns for path in cells()}
    assert done
    finished = run(*command)
    assert finished.out == alone.out
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
