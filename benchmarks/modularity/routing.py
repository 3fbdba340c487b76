"""Measure what the experts of a whole model stand for: domains or words.

    python benchmarks/modularity/routing.py WORK --json FILE

On held-out text: which experts serve which domain in each layer; how much of the
routing is explained by a document's domain and how much by a token's id
(information.py); what a linear probe reads off the routing (probes.py).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from corpus import DOMAINS
from information import explained
from observed import Observed, observe
from probes import document_probe, token_probes
from windows import read_windows

from emo_prune.models.loading import load_model, load_tokenizer

SCHEMA = "emo-prune/benchmark-modularity-routing/1"
MODELS = ("emo", "standard")
DOCUMENTS = 32
WINDOWS_EACH = 4


def describe(checkpoint: Path, work: Path) -> Mapping[str, Any]:
    """Return what is found of one model."""
    began = time.perf_counter()
    model = load_model(checkpoint, device="cpu", dtype="float32")
    tokenizer = load_tokenizer(checkpoint)
    seen = {
        part: observe(
            model,
            read_windows(work, part, tokenizer, documents=DOCUMENTS, each=WINDOWS_EACH),
        )
        for part in ("calibration", "test")
    }
    layers = explained(seen["test"])
    return {
        "tokens": {part: len(found.tokens) for part, found in seen.items()},
        "coverage": coverage(seen["test"]),
        "information": layers,
        "domain_to_token": domain_to_token(layers),
        "document_probe": document_probe(seen["calibration"], seen["test"]),
        "token_probes": token_probes(seen["calibration"], seen["test"]),
        "seconds": round(time.perf_counter() - began, 1),
    }


def coverage(seen: Observed) -> list[dict[str, Any]]:
    """Return, by layer, how each domain [domains] uses each routed expert [experts].

    `probability` is the router's mean probability, `picks` the share of tokens that
    pick the expert; `similarity` is the mean cosine between the probabilities of two
    domains: 1 if all are routed alike.
    """
    masks = [seen.domains == number for number in range(len(DOMAINS))]
    layers = []
    for layer in range(seen.picks.shape[1]):
        experts = seen.probabilities.shape[2]
        means = [seen.probabilities[mask, layer].mean(axis=0) for mask in masks]
        counts = [
            np.bincount(seen.picks[mask, layer].ravel(), minlength=experts) / mask.sum()
            for mask in masks
        ]
        layers.append(
            {
                "layer": layer,
                "probability": np.round(np.array(means, np.float64), 6).tolist(),
                "picks": np.round(counts, 6).tolist(),
                "similarity": mean_cosine(np.array(means)),
            }
        )
    return layers


def mean_cosine(rows: Any) -> float:
    """Return the mean cosine between two different rows."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = unit @ unit.T
    return float(cosines[~np.eye(len(rows), dtype=bool)].mean())


def domain_to_token(layers: list[dict[str, Any]]) -> float:
    """Return semantic or lexical in one number, to be compared between models.

    The information about domains, summed over layers, by that about token ids.
    """
    domain = sum(layer["domain"]["nats"] for layer in layers)
    return float(domain / sum(layer["token"]["nats"] for layer in layers))


def main() -> None:
    """Describe both models and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder of text and models")
    parser.add_argument("--json", type=Path, required=True, help="results go here")
    options = parser.parse_args()
    document = {
        "schema": SCHEMA,
        "domains": list(DOMAINS),
        "documents": DOCUMENTS,
        "windows_each": WINDOWS_EACH,
        "models": {
            name: describe(options.work / name, options.work) for name in MODELS
        },
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document) + "\n"
    options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
