"""From the routing of a model's layers to a selection, one layer at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emo_prune.architectures import MoEModel
from emo_prune.files import versions
from emo_prune.routing import LayerRouting
from emo_prune.routing.calibration import ChoiceOptions
from emo_prune.selection import (
    Budget,
    LayerSelection,
    Limits,
    Selection,
    check_score,
    choose_layer,
    resolve_budget,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chooser:
    """Chooses the experts of each layer it is shown, and remembers the choices."""

    limits: Limits
    budget: Budget
    score: str
    seed: int
    greedy: bool
    chosen: list[LayerSelection] = field(default_factory=list)

    @classmethod
    def of(cls, model: MoEModel, options: ChoiceOptions, *, greedy: bool) -> Chooser:
        """Return a chooser for a model, before anything is loaded.

        Raises:
            BudgetError, SelectionError: the budget or the score is not possible.
        """
        check_score(options.score)
        limits = Limits.of(model)
        return cls(
            limits=limits,
            budget=resolve_budget(
                options.keep, limits, lower_top_k=options.lower_top_k
            ),
            score=options.score,
            seed=options.options.seed,
            greedy=greedy,
        )

    @property
    def num_kept(self) -> dict[int, int]:
        """How many experts each layer keeps."""
        return {
            layer: self.budget.of_layer(total)
            for layer, total in self.limits.num_experts.items()
        }

    def choose(self, routing: LayerRouting) -> tuple[int, ...]:
        """Choose the experts of the next layer; return their ids, ascending."""
        layer = choose_layer(
            routing, self.limits, self.budget, score=self.score, seed=self.seed
        )
        self.chosen.append(layer)
        return layer.kept

    def selection(
        self, model_facts: Mapping[str, Any], calibration: Mapping[str, Any]
    ) -> Selection:
        """Return the selection, once every layer has been chosen."""
        return Selection(
            model=model_facts,
            calibration=calibration,
            method=method_facts(self.score, self.greedy, self.seed),
            budget=budget_facts(self.budget, self.limits),
            layers=tuple(self.chosen),
            versions=versions("emo-prune", "torch", "transformers", "lm-eval"),
        )


def model_facts(model: MoEModel, identity: str) -> dict[str, Any]:
    """Return what a selection says of its model; `identity` is the fingerprint."""
    return {
        "name": model.checkpoint.name,
        "revision": model.checkpoint.revision,
        "fingerprint": identity,
        "model_type": model.architecture.model_type,
        "num_experts": model.num_experts,
        "num_shared_experts": model.num_shared_experts,
        "num_experts_per_tok": model.top_k,
    }


def method_facts(score: str, greedy: bool, seed: int) -> dict[str, Any]:
    """Return what a selection says of how it was chosen."""
    return {"score": score, "greedy": greedy, "seed": seed}


def budget_facts(budget: Budget, limits: Limits) -> dict[str, Any]:
    """Return what a selection says of its budget."""
    return {
        "keep": budget.num_experts / max(limits.num_experts.values()),
        "num_experts": budget.num_experts,
        "num_experts_per_tok": budget.top_k,
    }


def run_key(model_identity: str, choosers: Sequence[Chooser]) -> dict[str, Any]:
    """Return what an interrupted run and its continuation must choose alike."""
    return {
        "model": model_identity,
        "choices": [
            {
                **method_facts(chooser.score, chooser.greedy, chooser.seed),
                **budget_facts(chooser.budget, chooser.limits),
            }
            for chooser in choosers
        ],
    }
