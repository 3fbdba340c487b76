"""What can be read off the routing by a linear probe.

Multinomial logistic regression, fitted on the calibration documents and asked about the
test documents; neither were trained on. A probe sees logarithms of probabilities: those
differ by what the router's logits differ, in which it is linear.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from information import domain_of_documents
from observed import Floats, Ints, Observed
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

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
    """Name a document's domain by the mean of its routing, over all layers."""
    return probe(document_vectors(calibration), document_vectors(test))


def document_vectors(seen: Observed) -> tuple[Floats, Ints]:
    """Return each document's mean routing, as logarithms, and its domain."""
    owners = domain_of_documents(seen)
    sums = np.zeros((len(owners), *seen.probabilities.shape[1:]))
    np.add.at(sums, seen.documents, seen.probabilities)
    counts = np.bincount(seen.documents, minlength=len(owners))
    means = sums / counts[:, None, None]
    return logarithms(means.astype(np.float32)), owners


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
    vectors = logarithms(fitted.probabilities), logarithms(asked.probabilities)
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


def logarithms(probabilities: Floats) -> Floats:
    """Return a row per token or document: log probabilities of all layers."""
    flat: npt.NDArray[np.float32] = probabilities.reshape(len(probabilities), -1)
    return np.log(np.maximum(flat, np.float32(1e-8)))
