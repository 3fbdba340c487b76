"""The section of a selection: what was kept in each layer, and what it holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from emo_prune.errors import Command, ReportError
from emo_prune.reports.page.artifacts import Artifact, Section
from emo_prune.reports.page.beside import ExpertUse
from emo_prune.reports.page.heat_map import HeatRow, heat_map
from emo_prune.reports.page.line_plot import Frame, Line, Point, line_plot
from emo_prune.reports.page.markup import (
    NONE,
    Markup,
    decimals,
    details,
    facts,
    note,
    number,
    share,
    table,
)
from emo_prune.reports.page.picture import Picture
from emo_prune.selection import LayerSelection, Selection

_COLUMNS = (
    "layer",
    "experts kept",
    "effective experts",
    "kept picks",
    "kept mass",
    "stability",
)
_WORDS = (
    "Effective experts: exp(entropy) of the routed picks. Kept picks, kept mass: share "
    "of the router's picks and of its probability that the kept experts hold on the "
    "calibration tokens. Stability: overlap of the choices from two halves of the "
    "examples."
)


def selection_section(
    artifact: Artifact[Selection], beside: Sequence[object]
) -> Section:
    """Return what was kept per layer, how much of the routing that is, and why.

    Raises:
        ReportError: it keeps what is not there.
    """
    selection = artifact.value
    _refuse_unknown_experts(selection, artifact.name)
    calibration = selection.calibration
    return Section(
        title=f"Selection: {selection.model.name} for {calibration.task}, "
        f"by {selection.method.score}",
        source=artifact.name,
        result=_result(selection),
        headline=list(_headline(selection)),
        body=[
            _map(selection, _use(selection, beside)),
            _over_layers(selection.layers),
            _table(selection.layers),
            note(_WORDS),
            details("Which experts stay", _kept(selection.layers)),
            details("How they were chosen", facts({
                "score": selection.method.to_dict(),
                "budget": selection.budget.to_dict(),
                "calibration": {
                    **calibration.to_dict(), "documents": len(calibration.documents)
                },
            })),
            details("Provenance", facts({
                "sha256 of the file": artifact.sha256,
                "sha256 of the selection": selection.sha256,
                "model": selection.model.to_dict(),
                "versions": selection.versions,
            })),
        ],
    )  # fmt: skip


def _refuse_unknown_experts(selection: Selection, name: str) -> None:
    for layer in selection.layers:
        if max(layer.kept) >= selection.model.num_experts:
            raise ReportError(
                "a selection keeps an expert that its model does not have",
                where=f"{name}, layer {layer.layer}",
                got=f"expert {max(layer.kept)}",
                expected=f"0 to {selection.model.num_experts - 1}",
                hint=("run ", Command("select"), " again, or mend the file"),
            )


def _result(selection: Selection) -> str:
    """Say in one sentence how concentrated the routing is on what was kept."""
    model, layers = selection.model, selection.layers
    kept, shared = selection.budget.num_experts, model.num_shared_experts
    picks = _mean(x.retained_picks for x in layers)
    effective = _mean(x.effective_experts for x in layers)
    found = (
        f"{kept:,} of {model.num_experts:,} experts in each layer hold "
        f"{100 * picks:.1f} % of the router's picks on {selection.calibration.task}"
    )
    routed, whole = kept - shared, model.num_experts - shared
    if 0 < routed < whole:
        found += f", {picks * whole / routed:.1f} times an even share"
    return f"{found}; the picks spread over {effective:.1f} effective experts."


def _headline(selection: Selection) -> Iterator[tuple[str, Markup]]:
    layers = selection.layers
    yield (
        f"of {selection.model.num_experts:,} experts kept",
        number(selection.budget.num_experts),
    )
    yield "of the picks kept (mean)", share(_mean(x.retained_picks for x in layers))
    yield "of the mass kept (mean)", share(_mean(x.retained_mass for x in layers))
    stable = [x.stability for x in layers if x.stability is not None]
    if stable:
        yield "stability (mean)", decimals(_mean(stable), 2)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _use(
    selection: Selection, beside: Sequence[object]
) -> Mapping[int, Sequence[float]]:
    """Return how much experts are used, by the scores that a selection was made of.

    Empty without them.
    """
    for one in beside:
        if (
            isinstance(one, ExpertUse)
            and one.model == selection.model
            and one.calibration == selection.calibration
        ):
            return {
                layer: use
                for layer, use in one.by_layer.items()
                if len(use) == selection.model.num_experts
            }
    return {}


def _map(selection: Selection, use: Mapping[int, Sequence[float]]) -> Picture:
    experts = selection.model.num_experts
    rows = [
        HeatRow(
            layer=layer.layer,
            num_experts=experts,
            kept=layer.kept,
            use=use.get(layer.layer),
        )
        for layer in selection.layers
    ]
    words = (
        "Rows are layers, columns experts by their original number; coloured ones "
        "stay, shared ones among them."
    )
    if use:
        words += (
            " The stronger, the more often picked, by the scores beside the selection."
        )
    return heat_map("experts", f"Experts kept, of {experts} in each layer", rows, words)


def _over_layers(layers: Sequence[LayerSelection]) -> Picture:
    lines = [
        Line("kept mass", [Point(x.layer, x.retained_mass) for x in layers]),
        Line("kept picks", [Point(x.layer, x.retained_picks) for x in layers]),
    ]
    stable = [Point(x.layer, x.stability) for x in layers if x.stability is not None]
    if stable:
        lines.append(Line("stability", stable))
    title = (
        "Shares kept, and stability, by layer" if stable else "Shares kept, by layer"
    )
    return line_plot("layers", title, lines, Frame(x_title="layer"))


def _table(layers: Sequence[LayerSelection]) -> Markup:
    rows = [
        (
            number(x.layer),
            number(len(x.kept)),
            decimals(x.effective_experts, 1),
            share(x.retained_picks),
            share(x.retained_mass),
            decimals(x.stability, 2),
        )
        for x in layers
    ]
    mean = (
        "mean",
        NONE,
        decimals(_mean(x.effective_experts for x in layers), 1),
        share(_mean(x.retained_picks for x in layers)),
        share(_mean(x.retained_mass for x in layers)),
        NONE,
    )
    return table("What the kept experts hold", _COLUMNS, rows, [mean])


def _kept(layers: Sequence[LayerSelection]) -> Markup:
    rows = [(number(x.layer), ", ".join(map(str, x.kept))) for x in layers]
    return table("Original numbers of the kept experts", ("layer", "kept"), rows)
