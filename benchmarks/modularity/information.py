"""How much of the routing a document's domain explains, and how much a token's id.

Mutual information, in nats, between the expert that a token is sent to first and a
label. The estimate from counts is too high, the more so the more kinds of labels there
are: what is left when the labels are dealt out anew is that bias, and is subtracted.

How labels are dealt out decides what counts as chance. Token ids are shuffled among
tokens. Domains are shuffled among whole documents: tokens of a document are routed
alike for reasons that need not be its domain (its subject, in EMO its pool), and a few
documents per domain would agree by chance more often than independent tokens would.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from observed import Ints, Observed

SHUFFLES = 10


def entropy(values: Ints) -> float:
    """Return the entropy of a sample's distribution."""
    shares = np.bincount(values) / len(values)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def mutual_information(first: Ints, second: Ints) -> float:
    """Return the mutual information of two paired samples, from their counts."""
    joint = first * (int(second.max()) + 1) + second
    _, joint = np.unique(joint, return_inverse=True)
    return entropy(first) + entropy(second) - entropy(joint)


def beyond_chance(
    experts: Ints, labels: Ints, deal: Callable[[], Ints]
) -> dict[str, float]:
    """Return the estimate, its mean under labels dealt out anew, and what is left."""
    raw = mutual_information(experts, labels)
    chance = np.mean([mutual_information(experts, deal()) for _ in range(SHUFFLES)])
    return {"raw": raw, "chance": float(chance), "nats": raw - float(chance)}


def explained(seen: Observed, seed: int = 0) -> list[dict[str, object]]:
    """Return, for each layer, what domain and token id tell of the first expert.

    `share` is the part of the routing's entropy. `domain_given_token` is what the
    domain adds once the token is known (domains deal in different words), over the
    tokens that are common enough to be counted.
    """
    rng = np.random.default_rng(seed)
    layers: list[dict[str, object]] = []
    for layer in range(seen.picks.shape[1]):
        experts = seen.picks[:, layer, 0]
        domain = beyond_chance(experts, seen.domains, lambda: deal_domains(seen, rng))
        token = beyond_chance(
            experts, seen.tokens, lambda: rng.permutation(seen.tokens)
        )
        whole = entropy(experts)
        layers.append(
            {
                "layer": layer,
                "entropy": whole,
                "domain": {**domain, "share": domain["nats"] / whole},
                "token": {**token, "share": token["nats"] / whole},
                "domain_given_token": given_token(seen, experts, rng),
                "domain_to_token": domain["nats"] / token["nats"],
            }
        )
    return layers


def given_token(
    seen: Observed, experts: Ints, rng: np.random.Generator, common: int = 50
) -> float:
    """Return the information of expert and domain within each of the common tokens.

    Weighted by how common they are; chance is subtracted as ever.
    """
    ids, counts = np.unique(seen.tokens, return_counts=True)
    chosen = ids[np.argsort(-counts)[:common]]
    deals = [deal_domains(seen, rng) for _ in range(SHUFFLES)]
    total, number = 0.0, 0
    for token in chosen:
        places = seen.tokens == token
        raw = mutual_information(experts[places], seen.domains[places])
        chance = [mutual_information(experts[places], deal[places]) for deal in deals]
        total += int(places.sum()) * (raw - float(np.mean(chance)))
        number += int(places.sum())
    return total / number


def deal_domains(seen: Observed, rng: np.random.Generator) -> Ints:
    """Return the domains of all tokens, shuffled among documents."""
    owners = domain_of_documents(seen)
    dealt: npt.NDArray[np.int64] = rng.permutation(owners)[seen.documents]
    return dealt


def domain_of_documents(seen: Observed) -> Ints:
    """Return the domain of each document, by its number."""
    owners = np.zeros(int(seen.documents.max()) + 1, dtype=np.int64)
    owners[seen.documents] = seen.domains
    return owners
