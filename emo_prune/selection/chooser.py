"""From the routing of a model's layers to a selection, one layer at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emo_prune.architectures import Limits, MoEModel
from emo_prune.facts import SELECTING, Calibration, SourceModel
from emo_prune.files import versions
from emo_prune.options import BudgetOptions
from emo_prune.progress import Progress
from emo_prune.routing import LayerRouting
from emo_prune.selection.budget import Budget, parse_keep, resolve_budget
from emo_prune.selection.document import (
    KeptExperts,
    LayerSelection,
    Method,
    Selection,
)
from emo_prune.selection.scores import needs_outputs, score_packages

if TYPE_CHECKING:
    from emo_prune.routing import Batch

Combine = Callable[[LayerRouting], LayerRouting]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chooser:
    """Chooses the experts of each layer it is shown, and remembers the choices.

    greedy: each layer is observed with the earlier ones already pruned.
    """

    limits: Limits
    budget: Budget
    score: str
    seed: int
    greedy: bool
    chosen: list[LayerSelection] = field(default_factory=list)

    @classmethod
    def of(
        cls, limits: Limits, options: BudgetOptions, *, seed: int, greedy: bool = False
    ) -> Chooser:
        """Return a chooser for a model, before anything is loaded.

        Raises:
            BudgetError: the budget is not possible.
        """
        budget = resolve_budget(
            parse_keep(options.keep), limits, lower_top_k=options.lower_top_k
        )
        return cls(
            limits=limits,
            budget=budget,
            score=options.score,
            seed=seed,
            greedy=greedy,
        )

    @property
    def method(self) -> Method:
        """What a selection says of how it was chosen."""
        return Method(score=self.score, greedy=self.greedy, seed=self.seed)

    @property
    def kept_experts(self) -> KeptExperts:
        """What a selection says of its budget."""
        return KeptExperts(
            keep=self.budget.num_experts / max(self.limits.num_experts.values()),
            num_experts=self.budget.num_experts,
            num_experts_per_tok=self.budget.top_k,
        )

    @property
    def num_kept(self) -> dict[int, int]:
        """How many experts each layer keeps."""
        return {
            layer: self.budget.of_layer(total)
            for layer, total in self.limits.num_experts.items()
        }

    @property
    def needs_outputs(self) -> bool:
        """Whether the experts' outputs must be observed."""
        return needs_outputs(self.score)

    def choose(self, routing: LayerRouting) -> tuple[int, ...]:
        """Choose the experts of the next layer; return their ids, ascending."""
        from emo_prune.selection.choose import choose_layer  # needs numpy

        layer = choose_layer(
            routing, self.limits, self.budget, score=self.score, seed=self.seed
        )
        self.chosen.append(layer)
        return layer.kept

    def observe(
        self,
        loaded: Any,
        model: MoEModel,
        batches: Sequence[Batch],
        progress: Progress,
        combine: Combine = lambda routing: routing,
    ) -> list[LayerRouting]:
        """Run batches through a loaded model, choose, and return the layers' routing.

        `combine` adds up what several processes have counted. A greedy choice prunes
        the model in place for the time it is observed.

        Raises:
            RoutingError: a router gives NaN, or there are no experts where they should
                be.
        """
        from emo_prune.routing import observe, observe_greedy

        passes = len(model.layers) if self.greedy else 1
        tokens = passes * sum(int(batch.attention_mask.sum()) for batch in batches)
        with progress.track("observing routing", tokens, "tokens") as advance:
            if self.greedy:
                return observe_greedy(
                    loaded,
                    model.architecture,
                    batches,
                    self.choose,
                    self.budget.top_k,
                    outputs=self.needs_outputs,
                    progress=advance,
                    combine=combine,
                )
            layers = observe(
                loaded,
                model.architecture,
                batches,
                outputs=self.needs_outputs,
                progress=advance,
                combine=combine,
            )
        for layer in layers:
            self.choose(layer)
        return layers

    def selection(self, model: SourceModel, calibration: Calibration) -> Selection:
        """Return the selection, once every layer has been chosen."""
        return Selection(
            model=model,
            calibration=calibration,
            method=self.method,
            budget=self.kept_experts,
            layers=tuple(self.chosen),
            versions=versions(*SELECTING, *score_packages(self.score)),
        )


def source_model(model: MoEModel, fingerprint: str) -> SourceModel:
    """Return what documents say of a model."""
    return SourceModel(
        name=model.checkpoint.name,
        revision=model.checkpoint.revision,
        fingerprint=fingerprint,
        model_type=model.architecture.model_type,
        num_experts=model.num_experts,
        num_shared_experts=model.num_shared_experts,
        num_experts_per_tok=model.top_k,
    )


def run_key(fingerprint: str, choosers: Sequence[Chooser]) -> dict[str, Any]:
    """Return what an interrupted run and its continuation must choose alike."""
    return {
        "model": fingerprint,
        "choices": [
            {**chooser.method.to_dict(), **chooser.kept_experts.to_dict()}
            for chooser in choosers
        ],
    }
