"""From routing to a score per expert. The higher, the more the task needs it.

A score is a function of the routing of one layer that returns float64 [experts]; it
knows nothing of shared experts or budgets. What `select`, `extract` and `sweep` offer
are those with `@score` here, those that installed packages name in the entry-point
group `emo_prune.scores`, and those that a Python session defines:

    import numpy as np
    from emo_prune.routing import LayerRouting
    from emo_prune.selection import score

    @score("confidence")
    def confidence(routing: LayerRouting) -> np.ndarray:
        return routing.mass.sum(axis=0) / routing.picks.sum(axis=0).clip(min=1)

Only names are needed to parse a command line, so nothing here imports numpy, or a
package that brings a score, before one is computed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from emo_prune.errors import Command, EmoPruneError, Parameter, SelectionError

if TYPE_CHECKING:
    from emo_prune.routing.counts import LayerRouting, Sums

    ScoreFunction = Callable[[LayerRouting], Sums]

GROUP = "emo_prune.scores"
RANDOM = "random"
_NEEDS_OUTPUTS = "needs_outputs"

F = TypeVar("F", bound="ScoreFunction")


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A score by its name.

    home: where its function is, as "module:name". load: returns it. package: the
    installed one that brings it. rivals: who else brings a score of this name.
    """

    name: str
    home: str
    load: Callable[[], ScoreFunction]
    package: str | None = None
    rivals: tuple[str, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether it is one of this file."""
        return self.home.startswith(f"{__name__}:")

    @property
    def bringer(self) -> str:
        """Who brings it, for errors."""
        return self.package or ("emo-prune" if self.is_ours else "this session")


_HERE: dict[str, Score] = {}  # ours, and those that a session defines


def score(name: str, *, needs_outputs: bool = False) -> Callable[[F], F]:
    """Make a function a score, by a name.

    It gets a `LayerRouting` and returns a finite float64 for each of its experts.

    needs_outputs: it reads `weighted_norms` or `token_weighted`, which cost about one
    more pass to observe.

    Raises:
        SelectionError: another score has the name.
    """

    def add(function: F) -> F:
        setattr(function, _NEEDS_OUTPUTS, needs_outputs)
        home = f"{function.__module__}:{getattr(function, '__qualname__', name)}"
        made = Score(name=name, home=home, load=lambda: function)
        other = _HERE.get(name, made)
        if other.home != home:  # a cell that is run again has the same one
            raise _two(other, made.bringer)
        _HERE[name] = made
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


@score(RANDOM)
def random_order(routing: LayerRouting, seed: int = 0) -> Sums:
    """An order of a layer's experts that a seed decides."""
    return random_scores(routing.layer, routing.num_experts, seed)


def random_scores(layer: int, num_experts: int, seed: int) -> Sums:
    """Return the score `random`: a layer's experts in an order that a seed decides."""
    import numpy as np

    order = np.random.default_rng([seed, layer])
    return order.permutation(num_experts).astype(np.float64)


def score_names() -> tuple[str, ...]:
    """Return the names that a score is asked for by."""
    return (*(name for name in _scores() if name != RANDOM), RANDOM)


def check_score(name: str, where: Parameter = Parameter("score")) -> None:
    """Refuse a score by its name alone: nothing is imported for it.

    Raises:
        SelectionError: there is none of that name, or there are two.
    """
    found = _scores().get(name)
    if found is None:
        raise SelectionError(
            "there is no such score",
            where=where,
            got=f"{name!r:.200}",
            expected=", ".join(score_names()),
            hint=("try ", Parameter(where.name, "frequency")),
        )
    if found.rivals:
        raise _two(found, *found.rivals)


def needs_outputs(name: str) -> bool:
    """Tell whether a score reads the outputs of experts; its package is imported.

    Raises:
        SelectionError: there is no such score, or its package fails.
    """
    return bool(getattr(_function(name), _NEEDS_OUTPUTS, False))


def score_packages(name: str) -> tuple[str, ...]:
    """Return the package that brings a score, whose version a selection records."""
    check_score(name)
    package = _scores()[name].package
    return () if package is None else (package,)


def score_layer(routing: LayerRouting, name: str, seed: int) -> Sums:
    """Return the scores of one layer's experts; `seed` matters for `random` alone.

    Raises:
        SelectionError: no such score; the routing lacks what it needs; one that is not
            ours fails, or gives something else than a finite float64 for each expert.
    """
    if name == RANDOM:
        return random_order(routing, seed)
    function, found = _function(name), _scores()[name]
    if found.is_ours:
        return function(routing)
    with _named_failures(found, f"{name} of {found.bringer}, layer {routing.layer}"):
        given = function(copy.deepcopy(routing))  # it may change what it gets
        _refuse_nonsense(given, routing.num_experts)
    return given


def _scores() -> Mapping[str, Score]:
    """Return every score by its name, those of packages without importing any."""
    found = dict(_HERE)
    for theirs in _installed():
        other = found.get(theirs.name)
        if other is None or other.home == theirs.home:  # imported by the session
            found[theirs.name] = theirs
        else:
            rivals = (*other.rivals, theirs.bringer)
            found[theirs.name] = replace(other, rivals=rivals)
    return found


@cache
def _installed() -> tuple[Score, ...]:
    from importlib.metadata import entry_points  # takes a while

    found = [
        Score(
            name=entry.name,
            home=entry.value,
            load=entry.load,
            package=entry.dist.name if entry.dist else None,
        )
        for entry in entry_points(group=GROUP)
    ]
    return tuple(sorted(found, key=lambda one: (one.name, one.bringer)))


def _function(name: str) -> ScoreFunction:
    check_score(name)
    found = _scores()[name]
    with _named_failures(found, f"{name} of {found.bringer}"):
        return found.load()


@contextmanager
def _named_failures(score: Score, where: str) -> Iterator[None]:
    """Raise `SelectionError` for whatever the code of another package raises."""
    try:
        yield
    except EmoPruneError:
        raise
    except Exception as error:
        if score.is_ours:
            raise
        raise SelectionError(
            "the score fails",
            where=where,
            got=f"{type(error).__name__}: {error}",
            hint=f"mend or update {score.bringer}, or choose another score",
        ) from error


def _refuse_nonsense(given: object, num_experts: int) -> None:
    import numpy as np

    wanted = f"float64 ({num_experts},)"
    if not isinstance(given, np.ndarray):
        raise TypeError(f"it returns {type(given).__name__}, not {wanted}")
    if given.shape != (num_experts,) or given.dtype != np.float64:
        raise ValueError(f"it returns {given.dtype} {given.shape}, not {wanted}")
    if not np.isfinite(given).all():
        raise ValueError("it returns numbers that are not finite")


def _two(score: Score, *rivals: str) -> SelectionError:
    return SelectionError(
        "two scores have the same name",
        where=Parameter("score"),
        got=f"{score.name} of {' and '.join((score.bringer, *rivals))}",
        expected="a name that no other score has",
        hint=f"remove that of {rivals[-1]}, or give it another name",
    )


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
