"""The jobs of a sweep, fanned out over Ray.

An actor holds a model and does one job at a time; where and when it runs is Ray's
business. Only the process that began the sweep writes to its state.
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
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from emo_prune.architectures.opening import open_local
from emo_prune.errors import CheckpointError, Parameter, SettingsError, SweepError
from emo_prune.evaluation import ScoredModel
from emo_prune.facts import SCORING
from emo_prune.files import versions
from emo_prune.options import ScoringOptions
from emo_prune.progress import SILENT, Progress, Silent
from emo_prune.sweeps.grid import Grid, Setup
from emo_prune.sweeps.work import Count, Done, Job, Prompts, Score, Worker
from emo_prune.tasks import TaskOptions

LOCAL = "local"
_RETRIES = 2  # times that Ray starts a dead worker anew, and does its job again
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
            where=Parameter("ray"),
            hint=("pip install 'emo-prune[ray]', or leave out ", Parameter("ray")),
        ) from None
    if device is not None and ":" in device:
        raise SettingsError(
            "each of Ray's workers sees the one device it is given",
            where=Parameter("device"),
            got=device,
            expected="cpu, cuda or auto",
            hint=(
                *("leave out ", Parameter("device")),
                ": workers take a GPU each where there are any",
            ),
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
    except (OSError, OverflowError, ValueError) as error:
        raise _no_answer(address, str(error)) from None
    except subprocess.TimeoutExpired:
        raise _no_answer(address, f"nothing for {_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        lines = str(error.stderr).strip().splitlines() or [""]
        raise _no_answer(address, lines[-1][:300]) from None


def _no_answer(address: str, got: str) -> SettingsError:
    return SettingsError(
        "no Ray cluster answers",
        where=Parameter("ray", address),
        got=got,
        expected="local, auto, or HOST:PORT of a cluster's head node",
        hint=(
            "see `ray status` there (a cluster with tokens needs RAY_AUTH_MODE=token "
            "here as well), or start one here with ",
            Parameter("ray", LOCAL),
        ),
    )


@contextlib.contextmanager
def ray_pool(address: str, grid: Grid, num_jobs: int) -> Iterator[RayPool]:
    """Connect to Ray, and start as many workers as it has room for, or jobs if fewer.

    A worker takes a GPU where the cluster has any, else as many CPUs as this process
    would use threads.

    Raises:
        SettingsError: the connection fails.
    """
    import ray
    from ray.util.actor_pool import ActorPool

    # What Ray tells of workers that die goes to stderr: stdout is for results.
    with contextlib.redirect_stdout(sys.stderr), _connected(address):
        needs, room = _resources(ray, grid.scoring.device)
        size = max(1, min(room, num_jobs))
        progress = grid.scoring.progress
        progress.say(f"{size} workers of Ray, each with {_words(needs)}")
        actor = ray.remote(RayWorker).options(
            **needs, max_restarts=_RETRIES, max_task_retries=_RETRIES
        )
        assigned = _assigned(grid)  # by value: an actor that died is made of it again
        pool = ActorPool([actor.remote(assigned) for _ in range(size)])
        yield RayPool(pool, size, progress)


@contextlib.contextmanager
def _connected(address: str) -> Iterator[None]:
    """Hold a connection; a local Ray lives as long as it does."""
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


class RayPool:
    """Does jobs by a pool of Ray's actors."""

    def __init__(self, pool: Any, size: int, progress: Progress) -> None:
        self.size = size
        self._pool = pool
        self._progress = progress
        self._said = set[str]()

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Done]]:
        """Hand every job to the pool as soon as the pass it needs is kept.

        Raises:
            SweepError: Ray has given up on a worker.
            EmoPruneError: a job cannot be done.
        """
        waiting = dict(enumerate(jobs))
        unfinished = {job.file for job in jobs}
        while waiting or self._pool.has_next():
            ready = [n for n, job in waiting.items() if job.needs not in unfinished]
            for number in ready:
                work = _anywhere(waiting.pop(number).work())
                self._pool.submit(_send, (number, work))
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
                self._progress.say(text)


def _send(actor: Any, numbered: tuple[int, Count | Score]) -> Any:
    return actor.run.remote(*numbered)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """What a worker must know: the model of the sweep, by its path, and how to score.

    versions: of packages that results depend on.
    """

    model: ScoredModel
    identity: str
    prompts: TaskOptions
    scoring: ScoringOptions
    versions: Mapping[str, str]


class RayWorker:
    """The actor: a worker in a process of Ray's, opened with its first job."""

    def __init__(self, assigned: Assigned) -> None:
        self._assigned = assigned
        self._heard = _Heard()
        self._worker: Worker | None = None

    def run(self, number: int, work: Count | Score) -> tuple[int, Done]:
        """Do a job, and return its number and what came of it.

        Raises:
            SweepError: other packages are installed here.
            CheckpointError: the model is not here, or another one.
        """
        if not work.model.folder.is_dir():
            raise _no_model(work.model.folder, "no such folder")
        if self._worker is None:
            self._worker = self._opened()
        self._heard.texts.clear()
        done = self._worker.do(work)
        return number, replace(done, said=tuple(self._heard.texts))

    def _opened(self) -> Worker:
        here, expected = versions(*SCORING), self._assigned.versions
        if here != expected:
            raise SweepError(
                "a worker has other versions of packages",
                where=platform.node(),
                got=here,
                expected=expected,
                hint="install the same versions on every machine",
            )
        folder = self._assigned.model.folder
        opened, identity = open_local(str(folder))
        if identity != self._assigned.identity:
            raise _no_model(folder, "another model")
        setup = Setup(
            model=self._assigned.model,
            opened=opened,
            identity=identity,
            prompts=self._assigned.prompts,
            scoring=replace(self._assigned.scoring, progress=self._heard),
        )
        return Worker(setup, Prompts(setup, SILENT))


class _Heard(Silent):
    """Keeps what is said, for the process that can print it."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def say(self, text: str) -> None:
        self.texts.append(text)


def _no_model(folder: Path, got: str) -> CheckpointError:
    return CheckpointError(
        "a worker cannot find the model",
        where=f"{folder} on {platform.node()}",
        got=got,
        hint="workers need the model and the data at the same paths as here",
    )


def _assigned(grid: Grid) -> Assigned:
    prompts = grid.prompts
    if prompts.data_dir is not None:
        prompts = replace(prompts, data_dir=prompts.data_dir.absolute())
    given = {
        one.name: getattr(grid.scoring, one.name) for one in fields(ScoringOptions)
    }
    return Assigned(
        model=_anywhere_model(grid.model),
        identity=grid.identity,
        prompts=prompts,
        scoring=ScoringOptions(**given | {"progress": SILENT}),
        versions=versions(*SCORING),
    )


def _anywhere(work: Count | Score) -> Count | Score:
    """Return work whose paths mean the same in any working folder."""
    return replace(work, model=_anywhere_model(work.model), task=work.task.absolute())


def _anywhere_model(model: ScoredModel) -> ScoredModel:
    return replace(model, folder=model.folder.absolute())
