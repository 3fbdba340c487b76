"""The tables, in Markdown: means over domains, and the spread in brackets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labels import LABELS, WHOLE_LABELS

Results = Mapping[str, Any]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table, its first column to the left."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def cost_table(results: Results) -> str:
    """Return what each cut costs, by model and budget."""
    head = ["", "loss above the whole model's", "accuracy"]
    rows = []
    for name, label in LABELS.items():
        found = results["models"][name]
        rows.append(whole_row(f"{label}, whole", found["summary"]))
        rows += cut_rows(label, found)
    for name, label in WHOLE_LABELS.items():
        if name in results["models"]:
            rows.append(whole_row(label, results["models"][name]["summary"]))
    return markdown(head, rows)


def whole_row(label: str, summary: Results) -> list[str]:
    """Return the row of a model that is not cut."""
    loss, accuracy = summary["loss"]["mean"], percent(summary["accuracy"])
    return [label, f"(loss {loss:.3f})", accuracy]


def cut_rows(label: str, found: Results) -> list[list[str]]:
    """Return the rows of a model's subsets: by examples, by others', at random."""
    summary, total = found["summary"], found["model"]["num_experts"]
    rows = []
    for keep in dict.fromkeys(cell["keep"] for cell in summary["subsets"]):
        name = f"{label}, {100 * keep / total:g} %"
        for cell in (c for c in summary["subsets"] if c["keep"] == keep):
            count = cell["documents"]
            documents = f"{count} document{'s' if count > 1 else ''}"
            rows.append(cut_row(f"{name}, by {documents}", cell))
        if keep == found["matrix"]["keep"]:
            matrix = summary["matrix"]
            best = f"{matrix['own_is_best']} of {matrix['domains']} domains"
            rows.append([f"{name}, of another domain", nats(matrix["other"]), ""])
            rows.append([f"{name}, the own is the best in", best, ""])
        drawn = next(c for c in summary["random"] if c["keep"] == keep)
        rows.append(cut_row(f"{name}, at random", drawn))
    return rows


def cut_row(label: str, cell: Results) -> list[str]:
    """Return the row of one cut."""
    accuracy = percent(cell["accuracy"]) if "accuracy" in cell else ""
    return [label, nats(cell["loss_increase"]), accuracy]


def nats(figure: Results) -> str:
    """Return mean and spread in nats."""
    return f"{figure['mean']:+.3f} ({figure['spread']:.3f})"


def percent(figure: Results) -> str:
    """Return mean and spread in per cent."""
    return f"{100 * figure['mean']:.1f} % ({100 * figure['spread']:.1f})"


def routing_table(routing: Results) -> str:
    """Return what the routing tells of domains and of words."""
    models = {name: routing["models"][name] for name in LABELS}
    rows = [
        [
            f"layer {layer}: of the routing's entropy, the domain, the token",
            *(shares(found["information"][layer]) for found in models.values()),
        ]
        for layer in range(len(models["emo"]["information"]))
    ]
    rows += [
        [label, *(value(found) for found in models.values())]
        for label, value in _FACTS.items()
    ]
    return markdown(["", *LABELS.values()], rows)


def shares(layer: Results) -> str:
    """Return what is explained of one layer's routing."""
    return (
        f"{100 * layer['domain']['share']:.1f} %, {100 * layer['token']['share']:.1f} %"
    )


_FACTS: Mapping[str, Any] = {
    "information on the domain by that on the token": lambda found: (
        f"{found['domain_to_token']:.3f}"
    ),
    "the same in the last layer": lambda found: (
        f"{found['information'][-1]['domain_to_token']:.3f}"
    ),
    "cosine between domains, last layer": lambda found: (
        f"{found['coverage'][-1]['similarity']:.3f}"
    ),
    "probe: a document's domain": lambda found: (
        f"{100 * found['document_probe']['accuracy']:.1f} %"
    ),
    "probe: a token's domain": lambda found: (
        f"{100 * found['token_probes']['domain']['accuracy']:.1f} %"
    ),
    "probe: a token's id": lambda found: (
        f"{100 * found['token_probes']['id']['accuracy']:.1f} %"
    ),
}
