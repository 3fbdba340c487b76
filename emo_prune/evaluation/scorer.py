"""A checkpoint to be scored, and the scorer: lm-eval on one model in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec

from emo_prune.architectures import architecture_of
from emo_prune.architectures.config import TOP_K_KEYS, positive
from emo_prune.checkpoint import local_folder, name_of_folder
from emo_prune.evaluation.gathering import gathered
from emo_prune.evaluation.results import Results
from emo_prune.exports import (
    PRETRAIN_SCHEMA,
    ExportRecord,
    read_record,
    record_schema,
)
from emo_prune.facts import Calibration
from emo_prune.options import ScoringOptions
from emo_prune.places import RECORD
from emo_prune.progress import SILENT, Advance, Progress
from emo_prune.selection import Selection
from emo_prune.tasks import EvaluationSet, quiet

Kept = Mapping[int, Sequence[int]]  # ids of the experts that stay, by layer


class Scorer:
    """A loaded model and its tokenizer, as a language model of lm-eval.

    A context manager; at its end the model is as it was before (training or not), and
    nothing of it is held. Scored several times on one evaluation set, prompts are
    tokenised once, and what was asked before is not computed again.

    Args:
        model: a causal language model of transformers, on its device.
        tokenizer: its tokenizer.
        batch_size: prompts per forward pass; None takes as many as fit, or 8 where
            prefixes are not shared. No result depends on it, up to rounding.
        share_prefixes: compute what prompts have in common once, where the model
            allows it; no result depends on that either.
        max_length: context in tokens; None takes the model's own.
        progress: hears of the documents that are done, and of what is worth knowing.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        batch_size: int | None = None,
        share_prefixes: bool = True,
        max_length: int | None = None,
        progress: Progress = SILENT,
    ) -> None:
        from emo_prune.evaluation.language_model import language_model

        self.model = model
        self.progress = progress
        self._entered = ExitStack()
        self._asked: EvaluationSet | None = None
        self._known: dict[object, Results] = {}
        self._was_training = bool(model.training)
        with quiet():
            self._lm = language_model(
                model,
                tokenizer,
                share_prefixes=share_prefixes,
                batch_size=batch_size,
                max_length=max_length,
                say=progress.say,
            )

    @classmethod
    def load(cls, folder: Path, name: str, options: ScoringOptions) -> Self:
        """Load a checkpoint's model and tokenizer; `name` is what progress calls it.

        Raises:
            CheckpointError: the model cannot be loaded.
            SettingsError: there is no such device or dtype.
        """
        options.progress.say(f"loading {name}")
        from emo_prune.models.loading import load_model, load_tokenizer

        return cls(
            load_model(folder, device=options.device, dtype=options.dtype),
            load_tokenizer(folder),
            batch_size=options.batch_size,
            share_prefixes=options.share_prefixes,
            progress=options.progress,
        )

    def __enter__(self) -> Self:
        from emo_prune.models.loading import quiet_transformers

        self._entered.enter_context(quiet())
        self._entered.enter_context(quiet_transformers())
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()
        self.model.train(self._was_training)  # lm-eval puts it into evaluation mode
        self._known.clear()
        self._asked = self.model = None
        del self._lm

    def score(
        self,
        evaluation: EvaluationSet,
        name: str,
        kept: Kept | None = None,
        top_k: int | None = None,
    ) -> Results:
        """Score the model on an evaluation set.

        Args:
            evaluation: from `emo_prune.tasks.evaluation_set`.
            name: what results call the model.
            kept: the experts to route among, as an export with these would; a
                selection's, checked against the model. None is all of them.
            top_k: how many of the kept experts a token gets; None is the model's own.

        Raises:
            EvaluationError: it gives NaN, fails as it computes, or the metrics of the
                tasks have no common direction.
        """
        if evaluation is not self._asked:
            self._asked = evaluation
            self._known.clear()
            self._lm.forget()
        key = None
        if kept is not None:
            key = (tuple((layer, tuple(ids)) for layer, ids in kept.items()), top_k)
        if key not in self._known:
            with self._routing(kept, top_k):
                self._known[key] = self._measured(evaluation, name)
        return msgspec.structs.replace(self._known[key], model=name)

    @contextmanager
    def _routing(self, kept: Kept | None, top_k: int | None) -> Iterator[None]:
        if kept is None:
            yield
            return
        from emo_prune.routing import masked

        config = self.model.config.to_dict()
        top_k = top_k or positive(config, TOP_K_KEYS)
        with masked(self.model, architecture_of(config), kept, top_k):
            yield

    def _measured(self, evaluation: EvaluationSet, name: str) -> Results:
        """Run the evaluation through lm-eval; tell of progress in documents."""
        import lm_eval

        total = len(evaluation.document_sha256)
        self._lm.truncated.clear()
        with (
            quiet(),
            self.progress.track(f"scoring {name}", total, "documents") as advance,
        ):
            self._lm.hear(_in_documents(advance, total))
            output = lm_eval.evaluate(
                lm=self._lm,
                task_dict={
                    "tasks": {part.name: part.task for part in evaluation.tasks}
                },
                limit=evaluation.limit,
                bootstrap_iters=0,
                log_samples=True,
            )
        results = gathered(
            evaluation,
            output,
            name=name,
            max_length=self._lm.max_length,
            dtype=str(self.model.dtype).removeprefix("torch."),
            num_truncated=len(self._lm.truncated),
        )
        if results.num_truncated:
            self.progress.say(
                f"{results.num_truncated} prompts are longer than the model's context "
                f"of {results.settings.max_length} tokens; their beginning is left out"
            )
        return results


def _in_documents(advance: Advance, total: int) -> Callable[[int, int], None]:
    """Turn lm-eval's (requests done, in all) into advances of documents."""
    told = 0

    def progress(done: int, everything: int) -> None:
        nonlocal told
        documents = total * done // max(everything, 1)
        advance(documents - told)
        told = documents

    return progress


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredModel:
    """A checkpoint at hand. `record` is None unless it is an export."""

    folder: Path
    name: str
    record: ExportRecord | None

    @property
    def calibration(self) -> Calibration | None:
        """The calibration that chose its experts; None for no export."""
        return None if self.record is None else self.record.selection.calibration

    @property
    def documents(self) -> frozenset[str]:
        """Hashes of all documents that chose experts, its source's included."""
        history = () if self.record is None else self.record.history
        return frozenset(d for one in history for d in one.calibration.documents)


def scored_model(model: str | Path) -> ScoredModel:
    """Return what a folder or Hub id stands for; a Hub id is downloaded.

    An export is named by its source and size ("allenai/Emo_1b14b_1T, 16 of 128
    experts"), any other checkpoint by its id or folder.

    Raises:
        CheckpointError: it is neither a folder nor on the Hub.
        ExportError: its record is damaged.
    """
    folder = local_folder(str(model))
    pretrained = record_schema(folder) == PRETRAIN_SCHEMA
    if pretrained or not (folder / RECORD).is_file():
        return ScoredModel(
            folder=folder, name=name_of_folder(folder.resolve())[0], record=None
        )
    record = read_record(folder)
    return ScoredModel(folder=folder, name=subset_name(record.selection), record=record)


def subset_name(selection: Selection) -> str:
    """Return what results call the part of a model that a selection keeps."""
    source, budget = selection.model, selection.budget
    kept = f"{budget.num_experts} of {source.num_experts} experts"
    return f"{source.name}, {kept}"
