"""The tables of docs/emoe.md, from what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from tables import markdown

Document = Mapping[str, Any]

_METHODS = {
    "kmeans": "clustered by keys",
    "contiguous": "as they lie",
    "random": "at random",
}
_TASKS = {
    "arc_easy": "ARC-Easy",
    "arc_challenge": "ARC-Challenge",
    "openbookqa": "OpenBookQA",
    "mmlu:psychology": "MMLU psychology",
    "mean": "mean",
}
_VARIANTS = {"untrained": "dense, not trained"}


def modularity_table(measured: Document) -> str:
    """Return how much of the activation energy half of the experts hold."""
    rows = [
        ["neurons", "tightness of keys", "the gate's", "the best for a token",
         "the best for all tokens", "if all were alike"],
    ]  # fmt: skip
    for method, facts in measured["modularity"].items():
        layers = facts["measured"]
        shares = (
            f"{100 * fmean(layer[kind] for layer in layers):.1f} %"
            for kind in ("picked_energy", "best_energy", "fixed_energy", "even_energy")
        )
        rows.append([_METHODS[method], f"{fmean(facts['tightness']):.3f}", *shares])
    return markdown(rows[0], rows[1:])


def top_k_table(measured: Document) -> str:
    """Return ARC-Easy's accuracy by the number of experts that a token uses."""
    dense, *cells = measured["by_top_k"]
    total = measured["num_experts"]
    found = {(cell["layers"], cell["method"], cell["top_k"]): cell for cell in cells}
    columns = list(dict.fromkeys((cell["layers"], cell["top_k"]) for cell in cells))
    names = {"all": "all layers", measured["layers"]: "7 layers"}
    rows = [["neurons", *(f"{names[layers]}, {k} of {total}" for layers, k in columns)]]
    for method in _METHODS:
        cells_of = (found[layers, method, k] for layers, k in columns)
        rows.append([_METHODS[method], *map(_with_band, cells_of)])
    return (
        f"{markdown(rows[0], rows[1:])}\n\nPer cent, and points from the dense model's "
        f"{dense['accuracy']:.1f} with the paired 95 % interval; n = {dense['n']}."
    )


def kept_share_table(measured: Document) -> str:
    """Return the accuracy of what is left, by task."""
    swept = measured["by_kept_share"]
    tasks = list(swept["kmeans"][0]["tasks"])
    rows = [["neurons", "experts kept", *(_TASKS[task] for task in tasks)]]
    for method, subsets in swept.items():
        for subset in subsets:
            label = "all"
            if subset["keep"] is not None:
                how = "at random" if subset["score"] == "random" else "the task's own"
                label = f"{subset['keep'].replace('%', ' %')}, {how}"
            cells = (_with_drop(subset["tasks"][task]) for task in tasks)
            rows.append([_METHODS[method], label, *cells])
    return markdown(rows[0], rows[1:])


def finetuning_table(found: Document) -> str:
    """Return what each variant has learnt, and the difference from the dense model."""
    scored = found["settings"]["scored"]
    titles = ["variant", "loss in training", *(_TASKS[task] for task in scored)]
    rows = [
        [
            _VARIANTS.get(variant, variant),
            _last_loss(found["runs"], variant),
            *(_from_dense(scores[task], variant) for task in scored),
        ]
        for variant, scores in found["variants"].items()
    ]
    questions = ", ".join(map(str, scored.values()))
    seeds = ", ".join(map(str, found["seeds"]))
    return f"{markdown(titles, rows)}\n\nSeeds: {seeds}; questions: {questions}."


def _last_loss(runs: Sequence[Document], variant: str) -> str:
    """Return the mean loss of the last epoch, over seeds; "" if it was not trained."""
    losses = [run["losses"][-1] for run in runs if run["variant"] == variant]
    return f"{fmean(losses):.3f}" if losses else ""


def carving_table(found: Document) -> str:
    """Return time and memory of `emo-prune carve`."""
    rows = [
        [
            "",
            "parameters",
            "carve",
            "its peak memory",
            "`restore --dense`",
            "its peak memory",
        ]
    ]
    for name, facts in found["models"].items():
        parameters = f"{facts['parameters'] / 1e6:,.0f} M"
        title = f"{name}: {facts['layers']} layers, {facts['num_experts']} experts each"
        both = (facts["carve"], facts["restore"])
        cells = [text for one in both for text in (_wall(one), _peak(one))]
        rows.append([title, parameters, *cells])
    return markdown(rows[0], rows[1:])


def _with_band(cell: Document) -> str:
    low, high = cell["interval"]
    return (
        f"{cell['accuracy']:.1f} ({cell['from_dense']:+.1f}, {low:+.1f} to {high:+.1f})"
    )


def _with_drop(cell: Document) -> str:
    if cell["difference"] is None:
        return f"{cell['accuracy']:.1f}"
    return f"{cell['accuracy']:.1f} ({cell['difference']:+.1f})"


def _from_dense(cell: Document, variant: str) -> str:
    if variant == "dense":  # what the others are compared with
        return f"{cell['accuracy']:.2f}"
    return f"{cell['accuracy']:.2f} ({cell['from_dense']:+.2f} ± {cell['stderr']:.2f})"


def _wall(run: Document) -> str:
    return f"{run['wall_s']:.1f} s"


def _peak(run: Document) -> str:
    return f"{run['peak_rss_bytes'] / 1e6:,.0f} MB"
