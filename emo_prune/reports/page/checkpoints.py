"""The sections of checkpoints: what was exported, and how a model was trained."""

from __future__ import annotations

from collections.abc import Sequence

from emo_prune.exports import ExportRecord
from emo_prune.pretraining.document import DomainFacts, PretrainRecord, SourceFacts
from emo_prune.reports.page.artifacts import Artifact, Section
from emo_prune.reports.page.line_plot import Frame, Line, Point, line_plot
from emo_prune.reports.page.markup import (
    Markup,
    code,
    decimals,
    details,
    facts,
    number,
    share,
    table,
    tag,
)
from emo_prune.reports.page.picture import Picture
from emo_prune.units import format_bytes, format_count


def export_section(
    artifact: Artifact[ExportRecord], beside: Sequence[object]
) -> Section:
    """Return sizes, what was left out, and the hashes of what it was made from."""
    del beside
    record = artifact.value
    selection, after, before = record.selection, record.num_bytes, record.source_bytes
    left = after / before if before else None
    kept = f"{selection.budget.num_experts} of {selection.model.num_experts} experts"
    part = "" if left is None else f", {100 * left:.1f} % of it"
    return Section(
        title=f"Export: {kept} of {selection.model.name}",
        source=artifact.name,
        result=f"With {kept} in each layer the checkpoint has {format_bytes(after)} of "
        f"weights where {selection.model.name} has {format_bytes(before)}{part}.",
        headline=[
            ("of weights", number(after, format_bytes(after))),
            ("in the source", number(before, format_bytes(before))),
            ("of the source is left", share(left)),
        ],
        body=[
            details("What was left out", _left_out(record)),
            details("Provenance", facts({
                "sha256 of the file": artifact.sha256,
                "layout": record.layout,
                "sha256 of the selection": record.selection_sha256,
                "source": selection.model.to_dict(),
                "versions": record.versions,
            })),
        ],
    )  # fmt: skip


def _left_out(record: ExportRecord) -> Markup:
    rows = [
        *((code(name), "file") for name in record.left_out),
        *((code(name), "tensor") for name in record.dropped_tensors),
    ]
    if not rows:
        return tag("p", "Nothing but the experts that were dropped.")
    return table("Files and tensors", ("name", ""), rows)


def pretraining_section(
    artifact: Artifact[PretrainRecord], beside: Sequence[object]
) -> Section:
    """Return the loss over the steps, and what was trained on what."""
    del beside
    record = artifact.value
    data, loss = record.data, record.final.get("loss")
    domains = f"{len(data.domains)} domain{'s' if len(data.domains) != 1 else ''}"
    end = "" if loss is None else f", to a loss of {loss:.3f} nats a token"
    return Section(
        title=f"Pretraining: {record.variant}",
        source=artifact.name,
        result=f"{record.variant} was trained on {format_count(record.tokens)} tokens "
        f"of {domains} in {record.steps:,} steps{end}.",
        headline=[
            *([] if loss is None else [("nats a token at the end", decimals(loss, 3))]),
            ("tokens", number(record.tokens)),
            ("steps", number(record.steps)),
        ],
        body=[
            *_curve(record.loss_by_step),
            _domains(data.domains),
            details("The last line of metrics", facts(record.final)),
            details("Sources", _sources(data.sources)),
            details("Recipe", facts(record.recipe)),
            details("Provenance", facts({
                "sha256 of the file": artifact.sha256,
                "initialised from": record.initialised_from,
                "data": {
                    name: value
                    for name, value in data.to_dict().items()
                    if name not in ("sources", "domains")
                },
                "versions": record.versions,
            })),
        ],
    )  # fmt: skip


def _curve(points: Sequence[tuple[int, float]]) -> list[Markup | Picture]:
    if not points:
        return []
    line = Line("loss", [Point(step, loss) for step, loss in points])
    rows = [(number(step), decimals(loss, 4)) for step, loss in points]
    title = "Cross-entropy, in nats a token, by step"
    return [
        line_plot("loss", title, [line], Frame(x_title="step")),
        details("The points of the curve", table("Loss", ("step", "loss"), rows)),
    ]


def _domains(domains: Sequence[DomainFacts]) -> Markup:
    rows = [(d.name, number(d.documents), number(d.tokens)) for d in domains]
    return table("Trained on", ("domain", "documents", "tokens"), rows)


def _sources(sources: Sequence[SourceFacts]) -> Markup:
    rows = [
        (
            source.name,
            number(source.num_bytes, format_bytes(source.num_bytes)),
            code(source.sha256),
        )
        for source in sources
    ]
    return table("Sources", ("name", "size", "sha256"), rows)
