"""The jobs of a sweep, fanned out over Ray.

An actor holds a model and does one order at a time (`Bench`); where and when it runs is
Ray's business. Only the process that began the sweep writes to its state.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from emo_prune.errors import SweepError
from emo_prune.evaluation.scored_model import ScoredModel as Subject
from emo_prune.files import versions
from emo_prune.progress import Progress
from emo_prune.sweeps.bench import Count, Done, Score
from emo_prune.sweeps.cells import CellOptions, Grid
from emo_prune.sweeps.jobs import Job
from emo_prune.sweeps.ray_connection import connected
from emo_prune.sweeps.rows import PACKAGES
from emo_prune.sweeps.tasks import SweepTask
from emo_prune.sweeps.worker import Site, Worker
from emo_prune.tasks import Task

_RETRIES = 2  # times that Ray starts a dead worker anew, and does its order again


class Team:
    """A crew of Ray's actors."""

    def __init__(self, pool: Any, size: int, progress: Progress) -> None:
        self.size = size
        self._pool = pool
        self._watcher = progress
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
def team(address: str, grid: Grid, num_jobs: int, progress: Progress) -> Iterator[Team]:
    """Connect to Ray, and hire as many workers as it has room for, or jobs if fewer.

    A worker takes a GPU where the cluster has any, else as many CPUs as this process
    would use threads.

    Raises:
        SettingsError: the connection fails.
    """
    import ray
    from ray.util.actor_pool import ActorPool

    with contextlib.redirect_stdout(sys.stderr), connected(address):
        needs, room = _resources(ray, grid.options.device)
        size = max(1, min(room, num_jobs))
        progress.say(f"{size} workers of Ray, each with {_words(needs)}")
        hired = ray.remote(Worker).options(
            **needs, max_restarts=_RETRIES, max_task_retries=_RETRIES
        )
        site = _site(grid)  # by value: an actor that died is made of it again
        yield Team(ActorPool([hired.remote(site) for _ in range(size)]), size, progress)


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
