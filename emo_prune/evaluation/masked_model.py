"""A model in memory that answers with all its experts, or with some of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from emo_prune.architectures import MoEModel
from emo_prune.evaluation import Results
from emo_prune.evaluation.scoring import ScoringOptions, lent, score_named
from emo_prune.evaluation.subject import Subject
from emo_prune.progress import Progress
from emo_prune.selection import Selection
from emo_prune.tasks import EvaluationSet

if TYPE_CHECKING:
    from emo_prune.evaluation.language_model import ScoringLM


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedModel:
    """A model, loaded, with the prompts it is to answer; `opened` is its checkpoint."""

    opened: MoEModel
    loaded: Any
    name: str
    scored: EvaluationSet
    lm: ScoringLM
    progress: Progress
    known: dict[object, Results] = field(default_factory=dict)

    def whole(self) -> Results:
        """Score it with all its experts."""
        return score_named(self.lm, self.scored, self.name, self.progress)

    def score(
        self, name: str, kept: Mapping[int, tuple[int, ...]], top_k: int
    ) -> Results:
        """Score it as an export with these experts would be, the same ones once."""
        key = (tuple(kept.items()), top_k)
        if key not in self.known:
            with routing_among(self.loaded, self.opened, kept, top_k):
                self.known[key] = score_named(self.lm, self.scored, name, self.progress)
        return replace(self.known[key], model=name)


@contextmanager
def masked_model(
    request: ScoringOptions,
    whole: Subject,
    opened: MoEModel,
    scored: EvaluationSet,
    progress: Progress,
) -> Iterator[MaskedModel]:
    """Load a model once, and lend it."""
    from emo_prune.models.loading import load_model

    progress.say(f"loading {whole.name}")
    model = load_model(whole.folder, device=request.device, dtype=request.dtype)
    with lent(model, whole.folder, request, progress) as lm:
        yield MaskedModel(
            opened=opened,
            loaded=model,
            name=whole.name,
            scored=scored,
            lm=lm,
            progress=progress,
        )


def routing_as(
    model: Any, opened: MoEModel, selection: Selection | None
) -> AbstractContextManager[None]:
    """Return what makes the model route as a selection says; None changes nothing."""
    if selection is None:
        return nullcontext()
    return routing_among(model, opened, selection.kept, selection.top_k)


def routing_among(
    model: Any, opened: MoEModel, kept: Mapping[int, tuple[int, ...]], top_k: int
) -> AbstractContextManager[None]:
    """Return what makes the model route among some experts of each layer."""
    from emo_prune.routing.masking import masked

    return masked(model, opened.architecture, kept, top_k)
