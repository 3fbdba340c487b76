"""A worker of a sweep in a process of Ray's, on this machine or another."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from emo_prune.architectures.opening import open_local
from emo_prune.errors import CheckpointError, SweepError
from emo_prune.evaluation.scored_model import ScoredModel as Subject
from emo_prune.files import versions
from emo_prune.progress import Silent
from emo_prune.sweeps.bench import Bench, Count, Done, Score
from emo_prune.sweeps.cells import CellOptions
from emo_prune.sweeps.prompts import Prompts
from emo_prune.sweeps.rows import PACKAGES


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
        prompts = Prompts(site.whole, opened, site.options, Silent())
        return Bench(site.whole, opened, identity, site.options, prompts, self._heard)


class _Heard(Silent):
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
