"""The jobs of a sweep, fanned out over Ray.

An actor holds a model and does one order at a time (`Bench`); where and when it runs is
Ray's business. Only the process that began the sweep writes to its state.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emo_prune.api.opening import open_local
from emo_prune.api.subject import Subject
from emo_prune.api.sweep_bench import Bench, Count, Done, Score
from emo_prune.api.sweep_cells import CellOptions, Grid
from emo_prune.api.sweep_jobs import Job
from emo_prune.api.sweep_prompts import Prompts
from emo_prune.api.sweep_rows import PACKAGES
from emo_prune.api.sweep_tasks import SweepTask
from emo_prune.api.watcher import Watcher
from emo_prune.errors import CheckpointError, SettingsError, SweepError
from emo_prune.provenance import versions
from emo_prune.tasks import Task

LOCAL = "local"
_OPTION = "--ray"
_RETRIES = 2  # times that Ray starts a dead worker anew, and does its order again
_OBJECTS = 2**28  # bytes of a local Ray's store; what is sent here is far smaller
_SECONDS = 30  # that a cluster has to answer; Ray itself would try for many minutes
_HOST_AND_PORT = re.compile(r"(?:ray://)?\[?([^/\[\]]+)\]?:(\d+)")
_QUIET = {"log_to_driver": False, "logging_level": "ERROR"}
_PROBE = f"import sys, ray; ray.init(address=sys.argv[1], **{_QUIET})"


def check_ray(address: str, device: str | None) -> None:
    """See that Ray is installed and that a cluster answers at an address.

    Raises:
        SettingsError: it is not, or none does; or workers have no such device.
    """
    try:
        import ray  # noqa: F401
    except ImportError:
        raise SettingsError(
            "Ray is not installed",
            where=_OPTION,
            hint="pip install 'emo-prune[ray]', or leave out --ray",
        ) from None
    if device is not None and ":" in device:
        raise SettingsError(
            "each of Ray's workers sees the one device it is given",
            where="--device",
            got=device,
            expected="cpu, cuda or auto",
            hint="leave out --device: workers take a GPU each where there are any",
        )
    if address != LOCAL:
        _check_answer(address)


def _check_answer(address: str) -> None:
    """Raise `SettingsError` where no cluster answers in time."""
    told = _HOST_AND_PORT.fullmatch(address)
    try:
        if told:
            socket.create_connection((told[1], int(told[2])), timeout=5).close()
        subprocess.run(
            [sys.executable, "-c", _PROBE, address],
            check=True,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except (OSError, OverflowError) as error:
        raise _no_answer(address, str(error)) from None
    except subprocess.TimeoutExpired:
        raise _no_answer(address, f"nothing for {_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        lines = str(error.stderr).strip().splitlines() or [""]
        raise _no_answer(address, lines[-1][:300]) from None


def _no_answer(address: str, got: str) -> SettingsError:
    return SettingsError(
        "no Ray cluster answers",
        where=f"{_OPTION} {address}",
        got=got,
        expected="local, auto, or HOST:PORT of a cluster's head node",
        hint="see `ray status` there (a cluster with tokens needs RAY_AUTH_MODE=token "
        "here as well), or start one here with --ray local",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a worker must know: the model of the sweep, by its path, and how to score.

    versions: of packages that results depend on.
    """

    whole: Subject
    identity: str
    options: CellOptions
    versions: Mapping[str, str]


class Worker:
    """The actor: a bench in a process of Ray's, opened with its first order."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._heard = _Heard()
        self._bench: Bench | None = None

    def run(self, number: int, order: Count | Score) -> tuple[int, Done]:
        """Do an order, and return its number and what came of it.

        Raises:
            SweepError: other packages are installed here.
            CheckpointError: the model is not here, or another one.
        """
        _check_folder(order.subject.folder)
        if self._bench is None:
            self._bench = self._opened()
        self._heard.texts.clear()
        done = self._bench.run(order)
        return number, replace(done, said=tuple(self._heard.texts))

    def _opened(self) -> Bench:
        site = self._site
        here = versions(*PACKAGES)
        if here != site.versions:
            raise SweepError(
                "a worker has other versions of packages",
                where=platform.node(),
                got=here,
                expected=site.versions,
                hint="install the same versions on every machine",
            )
        opened, identity = open_local(str(site.whole.folder))
        if identity != site.identity:
            raise _no_model(site.whole.folder, "another model")
        prompts = Prompts(site.whole, opened, site.options, Watcher())
        return Bench(site.whole, opened, identity, site.options, prompts, self._heard)


class _Heard(Watcher):
    """Keeps what is said, for the process that can print it."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def say(self, text: str) -> None:
        self.texts.append(text)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise _no_model(folder, "no such folder")


def _no_model(folder: Path, got: str) -> CheckpointError:
    return CheckpointError(
        "a worker cannot find the model",
        where=f"{folder} on {platform.node()}",
        got=got,
        hint="workers need the model and the data at the same paths as here",
    )


class Team:
    """A crew of Ray's actors."""

    def __init__(self, pool: Any, size: int, watcher: Watcher) -> None:
        self.size = size
        self._pool = pool
        self._watcher = watcher
        self._said = set[str]()

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Done]]:
        """Hand every job to the pool as soon as the pass it needs is kept.

        Raises:
            SweepError: Ray has given up on a worker.
            EmoPruneError: an order cannot be done.
        """
        waiting = dict(enumerate(jobs))
        unfinished = {job.file for job in jobs}
        while waiting or self._pool.has_next():
            ready = [n for n, job in waiting.items() if job.needs not in unfinished]
            for number in ready:
                order = _absolute(waiting.pop(number).order())
                self._pool.submit(_send, (number, order))
            number, done = self._next()
            self._say(done)
            yield jobs[number], done
            unfinished.remove(jobs[number].file)

    def _next(self) -> tuple[int, Done]:
        import ray

        try:
            found: tuple[int, Done] = self._pool.get_next_unordered()
        except ray.exceptions.RayTaskError as error:
            raise (error.cause or error) from None
        except ray.exceptions.RayError as error:
            raise SweepError(
                "a worker of Ray died, or could not be started",
                got=str(error).strip()[:500],
                hint="see Ray's logs; the same command goes on with what is left",
            ) from None
        return found

    def _say(self, done: Done) -> None:
        """Say what a worker said, unless another did."""
        for text in done.said:
            if text not in self._said:
                self._said.add(text)
                self._watcher.say(text)


def _send(actor: Any, numbered: tuple[int, Count | Score]) -> Any:
    return actor.run.remote(*numbered)


@contextlib.contextmanager
def team(address: str, grid: Grid, num_jobs: int, watcher: Watcher) -> Iterator[Team]:
    """Connect to Ray, and hire as many workers as it has room for, or jobs if fewer.

    A worker takes a GPU where the cluster has any, else as many CPUs as this process
    would use threads.

    Raises:
        SettingsError: the connection fails.
    """
    import ray
    from ray.util.actor_pool import ActorPool

    with contextlib.redirect_stdout(sys.stderr), _connected(address):
        needs, room = _resources(ray, grid.options.device)
        size = max(1, min(room, num_jobs))
        watcher.say(f"{size} workers of Ray, each with {_words(needs)}")
        hired = ray.remote(Worker).options(
            **needs, max_restarts=_RETRIES, max_task_retries=_RETRIES
        )
        site = _site(grid)  # by value: an actor that died is made of it again
        yield Team(ActorPool([hired.remote(site) for _ in range(size)]), size, watcher)


@contextlib.contextmanager
def _connected(address: str) -> Iterator[None]:
    """Hold a connection; a local Ray lives as long as it does.

    What Ray tells of workers that die goes to stderr: stdout is for results.
    """
    import ray

    # a tool should not report home, nor warn of what Ray will do about GPUs one day
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    own: dict[str, Any] = {}
    if address == LOCAL:
        own = {"include_dashboard": False, "object_store_memory": _OBJECTS}
    stop = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, **_QUIET, **own)
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        raise _no_answer(address, str(error)[:300]) from None
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, stop)  # Ray has set one of its own
        yield
    finally:
        ray.shutdown()


def _resources(ray: Any, device: str | None) -> tuple[dict[str, int], int]:
    """Return what a worker takes, and how many such there is room for now."""
    import torch

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    free = ray.available_resources()
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    if gpus and device != "cpu":
        return {"num_gpus": 1, "num_cpus": 1}, int(free.get("GPU", 0))
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    each = max(1, min(torch.get_num_threads(), max(cpus, default=1)))
    room = sum(count // each for count in cpus)
    return {"num_cpus": each}, min(room, int(free.get("CPU", 0)) // each)


def _words(needs: Mapping[str, int]) -> str:
    if "num_gpus" in needs:
        return "a GPU"
    return f"{needs['num_cpus']} CPU" + ("s" if needs["num_cpus"] > 1 else "")


def _site(grid: Grid) -> Site:
    options = grid.options
    prompts, data = options.options, options.options.data_dir
    if data is not None:
        prompts = replace(prompts, data_dir=data.absolute())
    return Site(
        whole=_absolute_subject(grid.whole),
        identity=grid.identity,
        options=CellOptions(
            options=prompts,
            limit=options.limit,
            lower_top_k=options.lower_top_k,
            device=options.device,
            dtype=options.dtype,
            batch_size=options.batch_size,
            share_prefixes=options.share_prefixes,
        ),
        versions=versions(*PACKAGES),
    )


def _absolute(order: Count | Score) -> Count | Score:
    """Return an order whose paths mean the same in any working folder."""
    task = SweepTask(
        calibration=_absolute_task(order.task.calibration),
        scored=_absolute_task(order.task.scored),
    )
    return replace(order, subject=_absolute_subject(order.subject), task=task)


def _absolute_task(task: Task) -> Task:
    if task.examples is None:
        return task
    return replace(task, examples=task.examples.absolute())


def _absolute_subject(subject: Subject) -> Subject:
    return replace(subject, folder=subject.folder.absolute())
