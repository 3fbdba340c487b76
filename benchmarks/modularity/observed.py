"""What the routers of a whole model do, token by token.

Hooks on the routers see the logits; the model's own functions make probabilities and
picks of them. Shared experts serve every token and are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from corpus import DOMAINS
from torch import Tensor
from windows import Windows

from emo_prune.models.routing import router_probabilities, top_routed

_BATCH = 16

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The routing of N tokens.

    probabilities: float32 [N, layers, routed experts].
    picks: int64 [N, layers, picks], the likeliest first.
    tokens: int64 [N], what was read.
    domains: int64 [N], by its place among the domains.
    documents: int64 [N], numbered through all domains.
    """

    probabilities: Floats
    picks: Ints
    tokens: Ints
    domains: Ints
    documents: Ints

    def at(self, places: Ints | npt.NDArray[np.bool_]) -> Observed:
        """Return some of the tokens."""
        return Observed(
            probabilities=self.probabilities[places],
            picks=self.picks[places],
            tokens=self.tokens[places],
            domains=self.domains[places],
            documents=self.documents[places],
        )


def observe(model: Any, text: Mapping[str, Windows]) -> Observed:
    """Return the routing of all tokens of a text but the opening end-of-text ones."""
    parts = []
    first = 0
    for number, domain in enumerate(DOMAINS):
        windows = text[domain]
        parts.append(_domain(model, windows, number, first))
        first += int(windows.documents.max()) + 1
    return Observed(
        probabilities=np.concatenate([part.probabilities for part in parts]),
        picks=np.concatenate([part.picks for part in parts]),
        tokens=np.concatenate([part.tokens for part in parts]),
        domains=np.concatenate([part.domains for part in parts]),
        documents=numbered(np.concatenate([part.documents for part in parts])),
    )


def numbered(labels: Ints) -> Ints:
    """Return labels as numbers without gaps."""
    return np.unique(labels, return_inverse=True)[1]


def _domain(model: Any, windows: Windows, domain: int, first: int) -> Observed:
    valid = windows.valid & (windows.tokens != model.config.eos_token_id)
    found = list(_batches(model, windows, valid))
    count = int(valid.sum())
    documents = windows.documents[:, None].expand_as(valid)[valid]
    return Observed(
        probabilities=torch.cat([chances for chances, _ in found]).numpy(),
        picks=torch.cat([picks for _, picks in found]).numpy(),
        tokens=windows.tokens[valid].numpy(),
        domains=np.full(count, domain),
        documents=documents.numpy() + first,
    )


@torch.inference_mode()
def _batches(
    model: Any, windows: Windows, valid: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield probabilities and picks of each batch's valid tokens."""
    with watched(model.model.routers) as seen:
        for start in range(0, len(windows.tokens), _BATCH):
            seen.clear()
            model.model(
                input_ids=windows.tokens[start : start + _BATCH], use_cache=False
            )
            rows = valid[start : start + _BATCH].flatten()
            routed = [_routed(logits[rows], router) for router, logits in seen]
            yield (
                torch.stack([chances for chances, _ in routed], dim=1),
                torch.stack([picks for _, picks in routed], dim=1),
            )


def _routed(logits: Tensor, router: Any) -> tuple[Tensor, Tensor]:
    shared = router.num_shared_experts
    chances = router_probabilities(logits, num_shared_experts=shared)
    return chances, top_routed(chances, router.top_k - shared)


@contextmanager
def watched(routers: Sequence[Any]) -> Iterator[list[tuple[Any, Tensor]]]:
    """Collect each router's logits [tokens, experts], in the order of the layers."""
    seen: list[tuple[Any, Tensor]] = []

    def see(router: Any, _args: Any, output: Any) -> None:
        seen.append((router, output[0]))

    with ExitStack() as stack:
        for router in routers:
            handle = router.register_forward_hook(see)
            stack.callback(handle.remove)
        yield seen
