"""From routing to a score per expert. The higher, the more the task needs it.

A score is a function of the routing of one layer that returns float64 [experts]; it
knows nothing of shared experts or budgets. Those with `@score` here, and those that
installed packages name in the entry-point group `emo_prune.scores`, are what `select`,
`extract` and `sweep` offer. Only the names are needed to parse a command line, so
nothing here imports numpy before a score is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from emo_prune.errors import Command, Parameter, SelectionError

if TYPE_CHECKING:
    from importlib import metadata

    from emo_prune.routing.counts import LayerRouting, Sums

    ScoreFunction = Callable[[LayerRouting], Sums]

GROUP = "emo_prune.scores"
RANDOM = "random"
_NEEDS_OUTPUTS = "needs_outputs"

F = TypeVar("F", bound="ScoreFunction")


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A score by its name.

    load: returns the function. needs_outputs: whether it reads the output of every
    routed expert, and not the router alone. package: who brings it; None is this one.
    """

    name: str
    load: Callable[[], ScoreFunction]
    package: str | None = None

    @property
    def needs_outputs(self) -> bool:
        """Whether the routing must be observed with the experts' outputs."""
        return bool(getattr(self.load(), _NEEDS_OUTPUTS, False))


_OWN: dict[str, Score] = {}


def score(name: str, *, needs_outputs: bool = False) -> Callable[[F], F]:
    """Make a function a score, by a name.

    needs_outputs: it reads `weighted_norms` or `token_weighted`, which cost about one
    more pass to observe.
    """

    def add(function: F) -> F:
        setattr(function, _NEEDS_OUTPUTS, needs_outputs)
        _OWN[name] = Score(name=name, load=lambda: function)
        return function

    return add


@score("frequency")
def frequency(routing: LayerRouting) -> Sums:
    """Share of all top-k picks."""
    picks = routing.picks.sum(axis=0)
    shares: Sums = picks / max(int(picks.sum()), 1)
    return shares


@score("probability")
def probability(routing: LayerRouting) -> Sums:
    """Mean router probability over tokens: the EMO authors' score.

    EMoE's gate chooses hard, and has no probabilities of its own: for it they are the
    softmax of the avg-k scores over the experts.
    """
    mean: Sums = routing.mass.sum(axis=0) / max(int(routing.num_tokens.sum()), 1)
    return mean


@score("easy-ep", needs_outputs=True)
def easy_ep(routing: LayerRouting) -> Sums:
    """EASY-EP (arXiv 2504.06792): weighted output norms of the tokens that change."""
    total: Sums = _observed(routing.token_weighted, "easy-ep").sum(axis=0)
    return total


@score("reap", needs_outputs=True)
def reap(routing: LayerRouting) -> Sums:
    """REAP (arXiv 2510.13999): mean weighted output norm over the tokens picked for."""
    norms = _observed(routing.weighted_norms, "reap").sum(axis=0)
    picks = routing.picks.sum(axis=0)
    means: Sums = norms / picks.clip(min=1) * (picks > 0)
    return means


def random_scores(layer: int, num_experts: int, seed: int) -> Sums:
    """Return the score `random`: a layer's experts in an order that a seed decides."""
    import numpy as np

    order = np.random.default_rng([seed, layer])
    return order.permutation(num_experts).astype(np.float64)


@cache
def scores() -> Mapping[str, Score]:
    """Return every score by name: our own, then those of installed packages.

    Raises:
        SelectionError: two have the same name.
    """
    from importlib.metadata import entry_points

    found = dict(_OWN)
    for entry in entry_points(group=GROUP):
        package = entry.dist.name if entry.dist else entry.value
        other = found.get(entry.name)
        if other is not None or entry.name == RANDOM:
            raise SelectionError(
                "two scores have the same name",
                where=f"the entry point {entry.name} of {package}",
                got=entry.name,
                expected="a name that no other score has",
                hint=f"remove {package}, or have it rename its score",
            )
        found[entry.name] = Score(
            name=entry.name, load=_loader(entry, package), package=package
        )
    return found


def score_names() -> tuple[str, ...]:
    """Return the names that a score is asked for by."""
    return (*scores(), RANDOM)


def check_score(name: str, where: Parameter = Parameter("score")) -> None:
    """Raise `SelectionError` for a score that does not exist."""
    if name not in score_names():
        raise SelectionError(
            "there is no such score",
            where=where,
            got=f"{name!r:.200}",
            expected=", ".join(score_names()),
            hint=("try ", Parameter(where.name, "frequency")),
        )


def needs_outputs(name: str) -> bool:
    """Tell whether a score reads the outputs of experts."""
    return name != RANDOM and scores()[name].needs_outputs


def score_packages(name: str) -> tuple[str, ...]:
    """Return the package that brings a score, whose version a selection records."""
    package = None if name == RANDOM else scores()[name].package
    return () if package is None else (package,)


def score_layer(routing: LayerRouting, name: str, seed: int) -> Sums:
    """Return the scores of one layer's experts; `seed` matters for `random` alone.

    Raises:
        SelectionError: no such score, or the routing lacks what it needs, or a
            package's score does not give a float64 for each expert.
    """
    if name == RANDOM:
        return random_scores(routing.layer, routing.num_experts, seed)
    check_score(name)
    found = scores()[name].load()(routing)
    shape = getattr(found, "shape", None)
    if shape != (routing.num_experts,) or str(found.dtype) != "float64":
        raise SelectionError(
            "a score does not give a number for each expert",
            where=f"{name}, layer {routing.layer}",
            got=f"{getattr(found, 'dtype', type(found).__name__)} {shape}",
            expected=f"float64 ({routing.num_experts},)",
            hint="mend the package that brings it, or choose another score",
        )
    return found


def _loader(entry: metadata.EntryPoint, package: str) -> Callable[[], ScoreFunction]:
    def load() -> ScoreFunction:
        try:
            found: ScoreFunction = entry.load()
        except (ImportError, AttributeError) as error:
            raise SelectionError(
                "a score cannot be loaded",
                where=f"{entry.name} of {package}",
                got=str(error),
                hint=f"reinstall {package}, or remove it",
            ) from None
        return found

    return load


def _observed(sums: Sums | None, name: str) -> Sums:
    if sums is None:
        raise SelectionError(
            f"the routing was observed without what {name} needs",
            where="the scores file",
            got="no outputs of experts",
            hint=(
                *("run ", Command("select", {"score": name, "save_scores": True})),
                " on the model",
            ),
        )
    return sums
