"""What was found, in sentences, from the two files of results alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labels import LABELS, WHOLE_LABELS

Results = Mapping[str, Any]


def findings(results: Results, routing: Results) -> str:
    """Return the findings as a list."""
    emo, standard = (results["models"][name]["summary"] for name in LABELS)
    keep = results["models"]["emo"]["matrix"]["keep"]
    lines = [
        _effect(emo, standard),
        _own(emo, standard, keep),
        _documents(emo, keep),
        _price(results),
        _semantic(routing),
        _accuracy(emo, keep),
    ]
    return "\n".join(f"- {line}" for line in lines)


def _effect(emo: Results, standard: Results) -> str:
    cuts = {32: "half", 16: "a quarter", 8: "an eighth"}
    said = ", ".join(
        f"{increase(emo, keep):+.3f} nats with {share} of the experts"
        f" (standard: {increase(standard, keep):+.3f})"
        for keep, share in cuts.items()
    )
    return f"**The effect is there.** A domain's own experts cost EMO {said}."


def _own(emo: Results, standard: Results, keep: int) -> str:
    own, other = (emo["matrix"][key]["mean"] for key in ("own", "other"))
    return (
        f"**It is the right experts that count.** At {keep} of 64, another domain's "
        f"cost EMO {other:+.2f} and random ones {at_random(emo, keep):+.2f}, against "
        f"{own:+.2f} for its own, which are the best of all twelve in "
        f"{emo['matrix']['own_is_best']} domains of {emo['matrix']['domains']}. In the "
        f"standard model all experts are needed everywhere: its own cost "
        f"{standard['matrix']['own']['mean']:+.2f}, another domain's "
        f"{standard['matrix']['other']['mean']:+.2f}, random ones "
        f"{at_random(standard, keep):+.2f}."
    )


def _documents(emo: Results, keep: int) -> str:
    one, five, many = (increase(emo, keep, count) for count in (1, 5, 40))
    return (
        f"**Few documents choose well.** By one document {one:+.2f}, by five "
        f"{five:+.2f}, by forty {many:+.2f}."
    )


def _price(results: Results) -> str:
    models = results["models"]
    whole = {name: found["summary"]["loss"]["mean"] for name, found in models.items()}
    quarter = whole["emo"] + increase(models["emo"]["summary"], 16)
    others = "; ".join(
        f"the {label} has {whole[name]:.3f}"
        for name, label in WHOLE_LABELS.items()
        if name in whole
    )
    return (
        f"**Pools have a price.** The whole EMO is at {whole['emo']:.3f} nats, the "
        f"standard model at {whole['standard']:.3f}. Cut to a quarter, EMO is at "
        f"{quarter:.3f}"
        + (f"; {others}." if others else ".")
        + _matched(quarter, whole)
    )


def _matched(quarter: float, whole: Mapping[str, float]) -> str:
    """Say how a subset does against a model that was trained as small."""
    small = whole.get("small-standard")
    if small is None:
        return ""
    if quarter < small:
        return " So a subset is better than a model of its size that was trained alone."
    return (
        " So here, for one domain, a small model trained from the start is better than "
        "a part of EMO that is as large: after so few tokens 64 experts are hardly "
        "better than 16. What the paper finds after a trillion is not to be seen at "
        "this size."
    )


def _semantic(routing: Results) -> str:
    emo, standard = (routing["models"][name] for name in LABELS)
    last, other = (found["information"][-1] for found in (emo, standard))
    return (
        "**Routing becomes more semantic, and stays mostly lexical.** What it tells of "
        "the domain, divided by what it tells of the token's identity, is "
        f"{emo['domain_to_token']:.3f} (standard: {standard['domain_to_token']:.3f}), "
        f"and in the last layer {last['domain_to_token']:.3f} "
        f"({other['domain_to_token']:.3f}): the domains part there, at a mean cosine "
        f"of {emo['coverage'][-1]['similarity']:.2f} "
        f"({standard['coverage'][-1]['similarity']:.2f})."
    )


def _accuracy(emo: Results, keep: int) -> str:
    cut, drawn = (
        100 * cell["accuracy"]["mean"]
        for cell in (_chosen(emo, keep, 40), _drawn(emo, keep))
    )
    return (
        "**The four-way test does not show it.** Choosing among passages of one "
        f"domain, the whole EMO is right in {100 * emo['accuracy']['mean']:.1f} % "
        f"(chance 25), with its own {keep} experts in {cut:.1f} %, with random ones in "
        f"{drawn:.1f} %: it seems that a model this small goes by words that recur, "
        "for which experts hardly matter. Losses are the evidence here. The "
        "[models of the worlds](pretraining.md#the-checkpoint-that-comes-along) show "
        "the effect in accuracy."
    )


def increase(summary: Results, keep: int, documents: int = 40) -> float:
    """Return by how much a domain's own experts raise the loss, on average."""
    return float(_chosen(summary, keep, documents)["loss_increase"]["mean"])


def at_random(summary: Results, keep: int) -> float:
    """Return by how much random experts raise the loss, on average."""
    return float(_drawn(summary, keep)["loss_increase"]["mean"])


def _chosen(summary: Results, keep: int, documents: int) -> Results:
    found: Results = next(
        cell
        for cell in summary["subsets"]
        if cell["keep"] == keep and cell["documents"] == documents
    )
    return found


def _drawn(summary: Results, keep: int) -> Results:
    found: Results = next(c for c in summary["random"] if c["keep"] == keep)
    return found
