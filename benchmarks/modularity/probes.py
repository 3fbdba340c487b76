"""What can be read off the routing by a linear probe.

Multinomial logistic regression, fitted on the calibration documents and asked about the
test documents; neither were trained on. A probe sees which experts were picked, in all
layers, and not the probabilities: those are a linear image of the hidden state, from
which the token and its context can be told whatever the experts are for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from information import domain_of_documents
from observed import Floats, Ints, Observed
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

COMMON = 50
_AT_MOST = 12_000  # tokens to fit a probe on


def probe(
    fitted: tuple[Floats, Ints], asked: tuple[Floats, Ints]
) -> dict[str, float | int]:
    """Fit on one set of vectors and labels; return the accuracy on the other.

    `majority` is the accuracy of always naming the most frequent label.
    """
    pipeline = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, max_iter=300, tol=1e-3)
    )
    pipeline.fit(*fitted)
    labels, counts = np.unique(fitted[1], return_counts=True)
    return {
        "accuracy": float(pipeline.score(*asked)),
        "majority": float(np.mean(asked[1] == labels[counts.argmax()])),
        "labels": len(labels),
        "fitted_on": len(fitted[1]),
        "asked": len(asked[1]),
    }


def document_probe(calibration: Observed, test: Observed) -> dict[str, Any]:
    """Name a document's domain by how often its tokens pick each expert."""
    return probe(document_vectors(calibration), document_vectors(test))


def document_vectors(seen: Observed) -> tuple[Floats, Ints]:
    """Return the share of each document's tokens that pick each expert; its domain."""
    owners = domain_of_documents(seen)
    sums = np.zeros((len(owners), num_columns(seen)), dtype=np.float32)
    np.add.at(sums, (seen.documents[:, None], columns(seen)), 1)
    counts = np.bincount(seen.documents).astype(np.float32)
    return sums / counts[:, None], owners


def token_probes(calibration: Observed, test: Observed, seed: int = 0) -> Any:
    """Name a single token's id, and its domain, by its routing.

    Both probes see the same tokens, the occurrences of the most common ids.
    `domain_from_id` is how often the domain that an id occurs in most is right: what a
    purely lexical routing could tell at best.
    """
    ids, counts = np.unique(calibration.tokens, return_counts=True)
    common = ids[np.argsort(-counts)[:COMMON]]
    rng = np.random.default_rng(seed)
    fitted, asked = sample(calibration, common, rng), sample(test, common, rng)
    vectors = token_vectors(fitted), token_vectors(asked)
    return {
        "id": probe((vectors[0], fitted.tokens), (vectors[1], asked.tokens)),
        "domain": probe((vectors[0], fitted.domains), (vectors[1], asked.domains)),
        "domain_from_id": domain_from_id(fitted, asked),
    }


def sample(seen: Observed, ids: Ints, rng: np.random.Generator) -> Observed:
    """Return some occurrences of the ids."""
    places = np.flatnonzero(np.isin(seen.tokens, ids))
    return seen.at(rng.permutation(places)[:_AT_MOST])


def domain_from_id(fitted: Observed, asked: Observed) -> float:
    """Return how often the domain that an id is most frequent in is right."""
    table = np.zeros((int(fitted.tokens.max()) + 1, int(fitted.domains.max()) + 1))
    np.add.at(table, (fitted.tokens, fitted.domains), 1)
    return float(np.mean(table.argmax(axis=1)[asked.tokens] == asked.domains))


def token_vectors(seen: Observed) -> Floats:
    """Return a row per token: 1 for each expert that it picks, in all layers."""
    vectors = np.zeros((len(seen.tokens), num_columns(seen)), dtype=np.float32)
    np.put_along_axis(vectors, columns(seen), 1, axis=1)
    return vectors


def columns(seen: Observed) -> Ints:
    """Return the picks of each token, experts numbered through all layers."""
    _, layers, experts = seen.probabilities.shape
    numbered: Ints = seen.picks + experts * np.arange(layers)[:, None]
    return numbered.reshape(len(seen.picks), -1)


def num_columns(seen: Observed) -> int:
    """Return the number of routed experts of all layers."""
    return int(np.prod(seen.probabilities.shape[1:]))
