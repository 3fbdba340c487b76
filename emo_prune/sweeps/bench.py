"""One model in memory, and the work of a sweep that is done on it, order by order.

Orders and what comes of them are data: they can be sent to another process.
"""

from __future__ import annotations

import platform
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emo_prune.architectures import MoEModel
from emo_prune.errors import SweepError
from emo_prune.evaluation import Results, Scorer
from emo_prune.evaluation.scored_model import ScoredModel as Subject
from emo_prune.files import digest_of, versions
from emo_prune.progress import Progress
from emo_prune.routing import resolved_dtype
from emo_prune.selection import Limits, ScoresFile, Selection
from emo_prune.selection.chooser import source_model
from emo_prune.sweeps.cells import CellOptions
from emo_prune.sweeps.prompts import Prompts
from emo_prune.sweeps.tasks import SweepTask
from emo_prune.tasks import EvaluationSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Run a task's calibration examples through the model.

    subject: the model. outputs: whether a score needs the outputs of experts.
    sha256: of the tokens, as whoever gives the order has found them.
    """

    subject: Subject
    task: SweepTask
    num_examples: int | None
    outputs: bool
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Score a model on a task: whole, or with the experts of a selection.

    name: what results call it. sha256: of the documents (`documents_digest`), as
    whoever gives the order has found them.
    """

    subject: Subject
    task: SweepTask
    selection: Selection | None
    name: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of an order, the seconds it took, and what there was to say."""

    found: ScoresFile | Results
    seconds: float
    said: tuple[str, ...] = ()


def documents_digest(scored: EvaluationSet) -> str:
    """Return a hash of the documents to be scored."""
    return digest_of(one.encode() for one in scored.document_sha256)


class Bench:
    """Does orders one at a time; holds one model, lent to one task's cells.

    whole, opened, identity: the model of the sweep, which subsets are of.
    """

    def __init__(
        self,
        whole: Subject,
        opened: MoEModel,
        identity: str,
        options: CellOptions,
        prompts: Prompts,
        progress: Progress,
    ) -> None:
        self._whole = whole
        self._opened = opened
        self._identity = identity
        self._options = options
        self._prompts = prompts
        self._watcher = progress
        self._model: Any = None
        self._loaded: Path | None = None
        self._lent = ExitStack()
        self._scorer: Scorer | None = None

    def run(self, order: Count | Score) -> Done:
        """Do an order.

        Raises:
            SweepError: the data are not those that the order speaks of.
            EmoPruneError: the model or the task cannot be used.
        """
        self._load(order.subject)
        found: ScoresFile | Results
        if isinstance(order, Count):
            self.close()
            started = time.monotonic()
            found = self._count(order)
        else:
            scorer = self._lend(order)
            started = time.monotonic()
            found = self._score(scorer, order)
        return Done(found=found, seconds=time.monotonic() - started)

    def close(self) -> None:
        """Take the model back from lm-eval; tokens are forgotten."""
        self._lent.close()
        self._scorer = None

    def _load(self, subject: Subject) -> None:
        """Have a model in memory, in place of the one before."""
        if self._loaded == subject.folder:
            return
        from emo_prune.models.loading import load_model

        self.close()
        self._model = self._loaded = None
        self._watcher.say(f"loading {subject.name}")
        dtype = self._options.dtype
        if subject.folder == self._whole.folder:
            dtype = resolved_dtype(self._opened, dtype)
        self._model = load_model(
            subject.folder, device=self._options.device, dtype=dtype
        )
        self._loaded = subject.folder

    def _lend(self, order: Score) -> Scorer:
        """Return the model as lm-eval takes it."""
        from emo_prune.models.loading import load_tokenizer

        if self._scorer is None:
            self._scorer = self._lent.enter_context(
                Scorer(
                    self._model,
                    load_tokenizer(order.subject.folder),
                    batch_size=self._options.batch_size,
                    share_prefixes=self._options.share_prefixes,
                    progress=self._watcher,
                )
            )
        return self._scorer

    def _count(self, order: Count) -> ScoresFile:
        from emo_prune.routing import observe

        calibrated = self._prompts.calibrated(order.task, order.num_examples)
        _check_same(order, calibrated.tokens_sha256)
        label = f"observing routing on {order.task.name}"
        with self._watcher.track(
            label, calibrated.facts.num_tokens, "tokens"
        ) as advance:
            layers = observe(
                self._model,
                self._opened.architecture,
                calibrated.batches,
                outputs=order.outputs,
                progress=advance,
            )
        return ScoresFile(
            model=source_model(self._opened, self._identity),
            calibration=calibrated.facts,
            versions=versions("emo-prune", "torch", "transformers", "lm-eval"),
            limits=Limits.of(self._opened),
            layers=tuple(layers),
        )

    def _score(self, scorer: Scorer, order: Score) -> Results:
        scored = self._prompts.scored(order.task)
        _check_same(order, documents_digest(scored))
        chosen = order.selection
        if chosen is None:
            return scorer.score(scored, order.name)
        return scorer.score(scored, order.name, chosen.kept, chosen.top_k)


def _check_same(order: Count | Score, sha256: str) -> None:
    """Raise `SweepError` where another machine has other data."""
    if sha256 != order.sha256:
        raise SweepError(
            "the data of a task are not the same on all machines",
            where=f"{order.task.name} on {platform.node()}",
            got=sha256,
            expected=order.sha256,
            hint="give every machine the same files at the same path",
        )
